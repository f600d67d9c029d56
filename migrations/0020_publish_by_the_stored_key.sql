-- `publish` as before, but for two things: `ordered` locks the key that is stored, not as it was spelt, so that all
-- spellings of one key wait for each other; and a payload may hold what JSON allows and jsonb cannot (a U+0000
-- escape, a number without bounds).

-- Puts a JSON message into the outbox and returns its id. The relay publishes it after the commit of
-- the transaction that called. Messages of one (topic, key) are published in the order of their
-- calls where the callers serialise themselves, as they do when they lock the aggregate first;
-- `ordered => true` takes a lock until the end of the transaction for callers that do not.
create or replace function mailroom.publish(
    topic            text,
    key              text,
    event_type       text,
    payload          json,
    headers          jsonb default null,
    aggregate_type   text default null,
    aggregate_id     uuid default null,
    schema_version   text default null,
    correlation_id   text default null,
    causation_id     text default null,
    trace_id         text default null,
    traceparent      text default null,
    -- A key already used returns the first message's id and adds nothing.
    idempotency_key  text default null,
    scheduled_at     timestamptz default null,
    max_attempts     integer default 6,
    ordered          boolean default false
) returns uuid
language plpgsql
as $$
#variable_conflict use_variable
declare
    bytes bytea := convert_to(payload::text, 'UTF8');
    moment timestamptz := clock_timestamp();
    published uuid;
begin
    topic := mailroom.trimmed('topic', topic, 249);
    if topic is null or topic !~ '^[A-Za-z0-9._-]+$' or topic in ('.', '..') then
        raise exception 'topic % is not a Kafka topic name: letters, digits, ".", "_" and "-"', coalesce(topic, 'null')
            using errcode = 'check_violation';
    end if;
    key := mailroom.trimmed('key', key, 255);
    event_type := mailroom.trimmed('event_type', event_type, 100);
    if event_type is null then
        raise exception 'event_type must not be null' using errcode = 'check_violation';
    end if;
    if payload is not null then
        -- By its text: jsonb cannot hold all of JSON.
        if json_typeof(payload) <> 'object' or payload::text ~ '^\s*\{\s*\}\s*$' then
            raise exception 'payload must be a JSON object that is not empty; null is a tombstone'
                using errcode = 'check_violation';
        end if;
        if octet_length(bytes) > 1000000 then
            raise exception 'payload has % bytes, at most 1000000 are allowed', octet_length(bytes)
                using errcode = 'check_violation';
        end if;
    end if;
    if scheduled_at < moment - interval '60 seconds' or scheduled_at > moment + interval '365 days' then
        raise exception 'scheduled_at % is more than 60 seconds past or 365 days ahead', scheduled_at
            using errcode = 'check_violation';
    end if;
    idempotency_key := mailroom.trimmed('idempotency_key', idempotency_key, 128);
    if ordered and key is not null then
        perform pg_advisory_xact_lock(mailroom.order_key(topic, convert_to(key, 'UTF8')));
    end if;
    insert into mailroom.outbox as o (
        topic, key, event_type, payload, content_type, headers, aggregate_type, aggregate_id, schema_version,
        correlation_id, causation_id, trace_id, traceparent, idempotency_key, scheduled_at, max_attempts)
    values (
        topic, convert_to(key, 'UTF8'), event_type, bytes,
        case when payload is not null then 'application/json' end, mailroom.checked_headers(headers),
        mailroom.trimmed('aggregate_type', aggregate_type, 50), aggregate_id::text,
        mailroom.trimmed('schema_version', schema_version, 50), mailroom.trimmed('correlation_id', correlation_id, 64),
        mailroom.trimmed('causation_id', causation_id, 64), mailroom.trimmed('trace_id', trace_id, 64),
        coalesce(traceparent, nullif(current_setting('mailroom.traceparent', true), '')), idempotency_key,
        coalesce(scheduled_at, moment), max_attempts)
    on conflict do nothing
    returning o.id into published;
    if published is null then
        select o.id into published from mailroom.outbox o where o.idempotency_key = publish.idempotency_key;
    end if;
    return published;
end
$$;
