-- Messages from Kafka, one row per handler that takes them. The columns hold whatever a Kafka record
-- can hold; what is not decodable is kept too, as `failed` with the reason `quarantined`.
create table mailroom.inbox (
    -- The order within a lane. Cache 1, so that it rises with every insert.
    seq              bigint generated always as identity (cache 1),
    lane             integer not null,
    -- 64-bit hash of topic, partition and key, made by the host; null has no order.
    okey             bigint,
    id               uuid not null,
    message_id       text not null,
    consumer_group   text not null,
    topic            text not null,
    partition        integer not null,
    "offset"         bigint not null,
    source           text not null,
    event_type       text not null,
    schema_version   text,
    key              bytea,
    -- Null is a tombstone.
    payload          bytea,
    content_type     text,
    -- [["name", "text"], ["name", {"base64": "…"}], ["name", null], …]: order, repeats and bytes are kept.
    headers          jsonb,
    -- Milliseconds since 1970 as the record says, which may be any number.
    produced_at_ms   bigint not null,
    trace_id         text,
    traceparent      text,
    correlation_id   text,
    causation_id     text,
    idempotency_key  text,
    status           text not null default 'pending',
    outcome          text,
    outcome_reason   text,
    failed_reason    text,
    -- Behind a waiting key, outside the index of what can be read. Only the lane's owner sets and clears it.
    held             boolean not null default false,
    attempts_made    integer not null default 0,
    max_attempts     integer not null default 6,
    -- Deliveries that ended, settled or lost with their host.
    deliveries       integer not null default 0,
    -- Deliveries that were lost with their host: how a message that kills the process is found.
    crashes          integer not null default 0,
    -- Its delivery under way runs alone in its process: if that dies, this message killed it.
    lone             boolean not null default false,
    -- Its handler takes each message at most once, and has had this one: it is not called again.
    begun            boolean not null default false,
    last_error       text,
    handler_digest   text,
    scheduled_at     timestamptz not null default clock_timestamp(),
    created_at       timestamptz not null default clock_timestamp(),
    updated_at       timestamptz not null default clock_timestamp(),
    completed_at     timestamptz,
    constraint inbox_status_known check (status in ('pending', 'completed', 'failed')),
    constraint inbox_completed_consistency check ((status = 'completed') = (completed_at is not null)),
    constraint inbox_outcome_consistency check (
        (status = 'completed') = (outcome is not null) and outcome in ('completed', 'skipped')),
    constraint inbox_failed_reason_consistency check (
        (status = 'failed') = (failed_reason is not null)
        and failed_reason in ('exhausted', 'rejected', 'crash-loop', 'quarantined', 'parked')),
    constraint inbox_attempts_valid check (
        max_attempts >= 1 and attempts_made between 0 and max_attempts
        and (status <> 'pending' or attempts_made < max_attempts)
        and (failed_reason is distinct from 'exhausted' or attempts_made = max_attempts)),
    constraint inbox_deliveries_valid check (deliveries >= 0 and crashes between 0 and deliveries),
    constraint inbox_held_is_pending check (not held or status = 'pending'),
    constraint inbox_lone_is_pending check (not lone or status = 'pending'),
    constraint inbox_last_error_bounded check (octet_length(last_error) <= 2000),
    -- Nothing can be counted from a moment that never comes.
    constraint inbox_times_finite check (isfinite(scheduled_at) and isfinite(created_at)),
    constraint inbox_headers_are_a_list check (jsonb_typeof(headers) = 'array')
);

-- Dedup against producers' duplicates; against redelivery the offset row is enough.
create unique index inbox_dedup on mailroom.inbox (message_id, consumer_group);
-- What an owner reads, in order. There is none on seq alone: it costs a fifth of the speed.
create index inbox_ready on mailroom.inbox (lane, seq) where status = 'pending' and not held;
-- Followers of a waiting key; empty in the normal case.
create index inbox_held on mailroom.inbox (lane, okey, seq) where held;
-- For lists and `show`: block ranges, so that an insert pays nothing for it.
create index inbox_created on mailroom.inbox using brin (created_at);
