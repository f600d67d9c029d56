-- The producers' API: any language, inside the application's own transaction. It refuses what a
-- plain insert would let through to the relay.

create function mailroom.trimmed(field text, value text, characters integer) returns text
language plpgsql immutable
as $$
declare
    stripped text := btrim(value, E' \t\r\n');
begin
    if value is null then return null; end if;
    if stripped = '' then
        raise exception '% must not be blank', field using errcode = 'check_violation';
    end if;
    if char_length(stripped) > characters then
        raise exception '% has % characters, at most % are allowed', field, char_length(stripped), characters
            using errcode = 'check_violation';
    end if;
    return stripped;
end
$$;

-- {"name": "value"} to the stored list, by the rules for headers that mailroom itself writes.
create function mailroom.checked_headers(headers jsonb) returns jsonb
language plpgsql immutable
as $$
declare
    pair record;
    names text[] := '{}';
    list jsonb := '[]';
    header_name text;
    header_value text;
begin
    if headers is null or headers = '{}' or headers = 'null' then return null; end if;
    if jsonb_typeof(headers) <> 'object' then
        raise exception 'headers must be a JSON object of text values' using errcode = 'check_violation';
    end if;
    for pair in select key, value from jsonb_each(headers) loop
        if jsonb_typeof(pair.value) <> 'string' then
            raise exception 'header % must have a text value', pair.key using errcode = 'check_violation';
        end if;
        header_name := mailroom.trimmed('a header name', pair.key, 64);
        header_value := mailroom.trimmed('header ' || header_name, pair.value #>> '{}', 512);
        if header_name ~ '[\x01-\x1f\x7f]' or header_value ~ '[\x01-\x08\x0a-\x1f\x7f]' then
            raise exception 'header % holds a control character', header_name using errcode = 'check_violation';
        end if;
        if lower(header_name) = any (names) then
            raise exception 'header % is given twice', header_name using errcode = 'check_violation';
        end if;
        if lower(header_name) = 'authorization' and header_value ~* '^bearer\s' then
            raise exception 'header authorization holds a bearer token, which must not be stored'
                using errcode = 'check_violation';
        end if;
        names := names || lower(header_name);
        list := list || jsonb_build_array(jsonb_build_array(header_name, header_value));
    end loop;
    if cardinality(names) > 100 then
        raise exception '% headers given, at most 100 are allowed', cardinality(names) using errcode = 'check_violation';
    end if;
    return list;
end
$$;

-- Puts a JSON message into the outbox and returns its id. The relay publishes it after the commit of
-- the transaction that called. Messages of one (topic, key) are published in the order of their
-- calls where the callers serialise themselves, as they do when they lock the aggregate first;
-- `ordered => true` takes a lock until the end of the transaction for callers that do not.
create function mailroom.publish(
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
    event_type := mailroom.trimmed('event_type', event_type, 100);
    if event_type is null then
        raise exception 'event_type must not be null' using errcode = 'check_violation';
    end if;
    if payload is not null then
        if json_typeof(payload) <> 'object' or payload::jsonb = '{}' then
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
        topic, convert_to(mailroom.trimmed('key', key, 255), 'UTF8'), event_type, bytes,
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
