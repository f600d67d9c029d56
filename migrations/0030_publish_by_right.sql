-- Applications get rights on columns, and `publish` does for them what they have no right to: it runs as its owner,
-- so that whoever may call it needs no right on the table. A role that may only insert chosen columns sets no status,
-- id or lane, reads nothing, and takes no idempotency key of a handler.

-- True if a header is a bearer token, by the stored form of headers: text, or base64. One that cannot be decoded
-- counts as one.
create function mailroom.bears_token(headers jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    header_value jsonb;
begin
    if headers is null or jsonb_typeof(headers) <> 'array' then return false; end if;
    for header_value in
        select e.value -> 1 from jsonb_array_elements(headers) e(value)
         where jsonb_typeof(e.value) = 'array' and lower(btrim(e.value ->> 0, E' \t\r\n')) = 'authorization'
    loop
        if coalesce(header_value #>> '{}', '') ~* '^\s*bearer\s' then return true; end if;
        if jsonb_typeof(header_value) = 'object'
           and encode(decode(header_value ->> 'base64', 'base64'), 'escape') ~* '^\s*bearer\s' then
            return true;
        end if;
    end loop;
    return false;
exception when invalid_parameter_value then
    return true;
end
$$;

create function mailroom.refuse_bearer() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if mailroom.bears_token(new.headers) then
        raise exception 'header authorization holds a bearer token, which must not be stored'
            using errcode = 'check_violation';
    end if;
    return new;
end
$$;

-- A trigger on inserts, no check: rows that are there are marked, replayed and listed as before.
create trigger refuse_bearer before insert on mailroom.outbox
    for each row when (new.headers::text ~* 'authorization') execute function mailroom.refuse_bearer();

-- So that whoever inserts needs no right on the relays' table.
alter function mailroom.before_outbox_insert() security definer;
revoke all on function mailroom.before_outbox_insert() from public;

-- `publish` as before, but for these: it runs as its owner, and is granted; `max_attempts`, which meant nothing, is
-- gone, as the relay counts no attempts; control characters in an idempotency key are refused, as U+001F is what sets
-- handlers' keys apart.
drop function mailroom.publish(
    text, text, text, json, jsonb, text, uuid, text, text, text, text, text, text, timestamptz, integer, boolean);

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
    ordered          boolean default false
) returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
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
    if idempotency_key ~ '[\x01-\x1f\x7f]' then
        raise exception 'idempotency_key holds a control character' using errcode = 'check_violation';
    end if;
    if ordered and key is not null then
        perform pg_advisory_xact_lock(mailroom.order_key(topic, convert_to(key, 'UTF8')));
    end if;
    insert into mailroom.outbox as o (
        topic, key, event_type, payload, content_type, headers, aggregate_type, aggregate_id, schema_version,
        correlation_id, causation_id, trace_id, traceparent, idempotency_key, scheduled_at)
    values (
        topic, convert_to(key, 'UTF8'), event_type, bytes,
        case when payload is not null then 'application/json' end, mailroom.checked_headers(headers),
        mailroom.trimmed('aggregate_type', aggregate_type, 50), aggregate_id::text,
        mailroom.trimmed('schema_version', schema_version, 50), mailroom.trimmed('correlation_id', correlation_id, 64),
        mailroom.trimmed('causation_id', causation_id, 64), mailroom.trimmed('trace_id', trace_id, 64),
        coalesce(traceparent, nullif(current_setting('mailroom.traceparent', true), '')), idempotency_key,
        coalesce(scheduled_at, moment))
    on conflict do nothing
    returning o.id into published;
    if published is null then
        select o.id into published from mailroom.outbox o where o.idempotency_key = publish.idempotency_key;
    end if;
    return published;
end
$$;

-- Whoever could insert into the outbox goes on calling it; nobody else may, as what runs as its owner asks no more.
revoke all on function mailroom.publish from public;
do $$
declare
    granted record;
begin
    for granted in
        select distinct case when a.grantee = 0 then 'public' else quote_ident(r.rolname) end as role
          from pg_class c cross join aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
         where c.oid = 'mailroom.outbox'::regclass and a.privilege_type = 'INSERT' and a.grantee <> c.relowner
    loop
        execute 'grant execute on function mailroom.publish to ' || granted.role;
    end loop;
end
$$;
