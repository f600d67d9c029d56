-- Deliveries whose call ended neither completed nor skipped, one row each: what the guest did, in its own words
-- and the host's. Written in the transaction that ends the delivery, and deleted with the message.
create table mailroom.attempt (
    lane            integer not null,
    seq             bigint not null,
    delivery        integer not null check (delivery >= 1),
    -- As the handler was told it, from 1.
    attempt         integer not null check (attempt >= 1),
    -- What people call the host that called it.
    host            text not null,
    at              timestamptz not null default clock_timestamp(),
    handler_digest  text not null,
    -- The kind of fault, and the handler's own stable name for it; null where the handler decided.
    fault           text,
    code            text,
    error           text not null,
    detail          text,
    last_output     text,
    fuel_used       bigint not null,
    memory_peak     bigint not null,
    took_ms         double precision not null,
    constraint attempt_texts_bounded check (
        octet_length(code) <= 255 and octet_length(error) <= 2000 and octet_length(detail) <= 16384
        and octet_length(last_output) <= 16384),
    primary key (lane, seq, delivery)
);

-- The same of the last call, since letters outlive what they are about.
alter table mailroom.dead_letter add column host text, add column took_ms double precision;
