-- Messages for Kafka, written by applications in their own transactions and by handlers through the
-- host. Any client may insert; the columns hold whatever a Kafka record can hold.

create function mailroom.order_key(topic text, key bytea) returns bigint
language sql immutable parallel safe
return pg_catalog.hashtextextended(topic || '/' || encode(key, 'base64'), 0);

create table mailroom.outbox (
    seq                  bigint generated always as identity (cache 1),
    id                   uuid not null default mailroom.uuid_v7() primary key,
    topic                text not null,
    key                  bytea,
    okey                 bigint generated always as (mailroom.order_key(topic, key)) stored,
    lane                 integer generated always as (
        (coalesce(mailroom.order_key(topic, key), mailroom.order_key(topic, uuid_send(id))) & 63)::integer) stored,
    aggregate_type       text,
    aggregate_id         text,
    event_type           text not null,
    schema_version       text,
    -- Null is a tombstone.
    payload              bytea,
    content_type         text,
    headers              jsonb,
    trace_id             text,
    traceparent          text default nullif(current_setting('mailroom.traceparent', true), ''),
    correlation_id       text,
    causation_id         text,
    idempotency_key      text,
    status               text not null default 'pending',
    failed_reason        text,
    held                 boolean not null default false,
    attempts_made        integer not null default 0,
    max_attempts         integer not null default 6,
    deliveries           integer not null default 0,
    last_error           text,
    -- Where the broker put it.
    published_partition  integer,
    published_offset     bigint,
    scheduled_at         timestamptz not null default clock_timestamp(),
    created_at           timestamptz not null default clock_timestamp(),
    updated_at           timestamptz not null default clock_timestamp(),
    completed_at         timestamptz,
    constraint outbox_status_known check (status in ('pending', 'completed', 'failed')),
    constraint outbox_completed_consistency check ((status = 'completed') = (completed_at is not null)),
    constraint outbox_failed_reason_consistency check (
        (status = 'failed') = (failed_reason is not null) and failed_reason in ('exhausted', 'rejected', 'quarantined')),
    constraint outbox_attempts_valid check (
        max_attempts >= 1 and attempts_made between 0 and max_attempts
        and (status <> 'pending' or attempts_made < max_attempts)
        and (failed_reason is distinct from 'exhausted' or attempts_made = max_attempts)),
    constraint outbox_held_is_pending check (not held or status = 'pending'),
    constraint outbox_last_error_bounded check (octet_length(last_error) <= 2000),
    -- Nothing can be counted from a moment that never comes.
    constraint outbox_times_finite check (isfinite(scheduled_at) and isfinite(created_at)),
    constraint outbox_headers_are_a_list check (jsonb_typeof(headers) = 'array')
);

create unique index outbox_idempotency_key on mailroom.outbox (idempotency_key) where idempotency_key is not null;
create index outbox_ready on mailroom.outbox (lane, seq) where status = 'pending' and not held;
create index outbox_held on mailroom.outbox (lane, okey, seq) where held;
create index outbox_created on mailroom.outbox using brin (created_at);

-- A relay that goes to sleep says until when; one that is awake costs producers no notification,
-- which would take two thirds of their commit rate. A time, not a flag: a dead relay's expires.
create table mailroom.relay_sleep (
    host          uuid primary key,
    asleep_until  timestamptz not null
) with (fillfactor = 20);

create function mailroom.before_outbox_insert() returns trigger
language plpgsql
as $$
begin
    -- The transaction has its id before any row draws its seq: the relay's horizon relies on it.
    perform pg_current_xact_id();
    if exists (select 1 from mailroom.relay_sleep where asleep_until > clock_timestamp()) then
        perform pg_notify('mailroom_outbox', '');
    end if;
    return null;
end
$$;

create trigger before_outbox_insert before insert on mailroom.outbox
    for each statement execute function mailroom.before_outbox_insert();
