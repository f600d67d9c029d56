-- One row per death of a message, written in the transaction that failed it. The message itself stays
-- where it is, as `failed`; only replay takes it out of that state.
create table mailroom.dead_letter (
    id              uuid not null default mailroom.uuid_v7() primary key,
    origin          text not null check (origin in ('inbox', 'outbox')),
    lane            integer not null,
    seq             bigint not null,
    message         uuid not null,
    message_id      text not null,
    consumer_group  text,
    handler         text,
    topic           text not null,
    partition       integer,
    "offset"        bigint,
    key             bytea,
    event_type      text not null,
    reason          text not null check (reason in ('exhausted', 'rejected', 'crash-loop', 'quarantined', 'parked')),
    -- What went wrong: the kind of fault, and the handler's own stable name for it.
    fault           text,
    code            text,
    error           text not null,
    detail          text,
    last_output     text,
    handler_digest  text,
    attempts        integer not null,
    deliveries      integer not null,
    fuel_used       bigint,
    memory_peak     bigint,
    died_at         timestamptz not null default clock_timestamp(),
    replayed_at     timestamptz,
    discarded_at    timestamptz
);

-- A message that is dead is dead once.
create unique index dead_letter_open on mailroom.dead_letter (origin, seq)
    where replayed_at is null and discarded_at is null;
