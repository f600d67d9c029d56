-- A handler's SQL changes where its message is settled, not how: what both kinds of settlement do is one text.

alter table mailroom.inbox validate constraint inbox_failed_reason_consistency;
alter table mailroom.dead_letter validate constraint dead_letter_reason_check;

-- What handlers emitted, in the order of their messages. An idempotency key that the group has used emits nothing:
-- each group has keys of its own, told apart by U+001F, which no group has in its name. Runs as whoever calls it.
create function mailroom.emit(
    of_group text, ids uuid[], topics text[], keys bytea[], event_types text[], payloads bytea[], content_types text[],
    headers text[], schema_versions text[], idempotency_keys text[], correlation_ids text[], causation_ids text[],
    trace_ids text[], traceparents text[], delays double precision[])
returns void
language plpgsql
as $$
#variable_conflict use_column
begin
    insert into mailroom.outbox (
        id, topic, key, event_type, payload, content_type, headers, schema_version, idempotency_key, correlation_id,
        causation_id, trace_id, traceparent, scheduled_at)
    select e.id, e.topic, e.key, e.event_type, e.payload, e.content_type, e.headers::jsonb, e.schema_version,
           of_group || chr(31) || e.idempotency_key, e.correlation_id, e.causation_id, e.trace_id, e.traceparent,
           clock_timestamp() + make_interval(secs => e.delay)
      from unnest(
           ids, topics, keys, event_types, payloads, content_types, headers, schema_versions, idempotency_keys,
           correlation_ids, causation_ids, trace_ids, traceparents, delays)
           with ordinality e(id, topic, key, event_type, payload, content_type, headers, schema_version,
                idempotency_key, correlation_id, causation_id, trace_id, traceparent, delay, place)
     order by e.place
        on conflict (idempotency_key) where idempotency_key is not null do nothing;
end
$$;

-- How a message ends whose handler used SQL: in the handler's own transaction, on a connection that is logged in
-- as the handler's role and may touch nothing here. It runs as this function's owner, and whoever calls it has
-- to know the id of the host that owns the lane: 122 random bits that no such role can read. So a guest that
-- calls it can end neither its own message nor another's.
-- Everything or nothing: what is no longer as the host left it raises, and takes the handler's writes with it.
-- SQLSTATE MR001: the lane is another host's. MR002: the message is no longer as it was delivered. MR003:
-- another has written a value of state since it was read.
-- Takes the place of the function without `seen`, for whom hosts of the version before take it, and has its grants.
create function mailroom.settle_with_sql_and_reads(
    of_host uuid, of_lane integer, of_token bigint, of_seq bigint, as_delivered integer, digest text, emitted jsonb,
    written jsonb, seen jsonb default '[]')
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- An empty table's statistics, or a guest's settings, must not choose to read all of the inbox.
set enable_seqscan = off
as $$
declare
    message mailroom.inbox;
    counter bigint;
begin
    select l.reread into counter from mailroom.lane l
     where l.id = of_lane and l.token = of_token and l.owner = of_host for key share;
    if not found then
        raise exception using errcode = 'MR001', message = 'the lane is another host''s';
    end if;
    update mailroom.inbox i
       set status = 'completed', outcome = 'completed', deliveries = i.deliveries + 1,
           crashes = case when i.lone then 0 else i.crashes end, lone = false,
           handler_digest = coalesce(digest, i.handler_digest), completed_at = clock_timestamp(),
           updated_at = clock_timestamp()
     where i.lane = of_lane and i.seq = of_seq and i.status = 'pending' and not i.held
       and i.deliveries = as_delivered
    returning i.* into message;
    if not found then
        raise exception using errcode = 'MR002', message = 'the message is no longer as it was delivered';
    end if;
    perform mailroom.emit(
               message.consumer_group, array_agg(e.id order by e.place), array_agg(e.topic order by e.place),
               array_agg(decode(e.key, 'base64') order by e.place), array_agg(e.event_type order by e.place),
               array_agg(decode(e.payload, 'base64') order by e.place), array_agg(e.content_type order by e.place),
               array_agg(nullif(e.headers, 'null')::text order by e.place),
               array_agg(e.schema_version order by e.place), array_agg(e.idempotency_key order by e.place),
               array_agg(coalesce(message.correlation_id, message.message_id)), array_agg(message.message_id),
               array_agg(message.trace_id), array_agg(message.traceparent), array_agg(e.delay order by e.place))
       from jsonb_to_recordset(emitted) e(
            place integer, id uuid, topic text, key text, event_type text, payload text, content_type text,
            headers jsonb, schema_version text, idempotency_key text, delay double precision);
    perform
       from (select array_agg(r.scope) as scopes, array_agg(decode(r.key, 'base64')) as keys,
                    array_agg(r.name) as names, array_agg(r.version) as versions, array_agg(r.count) as counts
               from jsonb_to_recordset(seen) r(scope text, key text, name text, version bigint, count bigint)) r
      cross join lateral mailroom.stale_reads(
            message.consumer_group, r.scopes, r.keys, r.names, r.versions, r.counts);
    if found then
        raise exception using errcode = 'MR003', message = 'another has written state since it was read';
    end if;
    -- By name, as every settlement locks them.
    perform
       from (select array_agg(w.scope order by w.scope, w.key, w.name) as scopes,
                    array_agg(w.key order by w.scope, w.key, w.name) as keys,
                    array_agg(w.name order by w.scope, w.key, w.name) as names,
                    array_agg(w.value order by w.scope, w.key, w.name) as new_values,
                    array_agg(w.read order by w.scope, w.key, w.name) as versions_read,
                    array_agg(w.written order by w.scope, w.key, w.name) as versions_written
               from (select w.scope, decode(w.key, 'base64') as key, w.name collate "C" as name,
                            decode(w.value, 'base64') as value, w.read, w.written
                       from jsonb_to_recordset(written) w(
                            scope text, key text, name text, value text, read bigint, written bigint)) w) w
      cross join lateral mailroom.write_state(
            message.consumer_group, w.scopes, w.keys, w.names, w.new_values, w.versions_read, w.versions_written);
    if found then
        raise exception using errcode = 'MR003', message = 'another has written state since it was read';
    end if;
    return counter;
end
$$;

revoke all on function mailroom.settle_with_sql_and_reads from public;
do $$
declare
    granted record;
begin
    for granted in
        select r.rolname
          from pg_proc p cross join aclexplode(p.proacl) a join pg_roles r on r.oid = a.grantee
         where p.oid = 'mailroom.settle_with_sql'::regproc and a.privilege_type = 'EXECUTE' and a.grantee <> p.proowner
    loop
        execute format('grant execute on function mailroom.settle_with_sql_and_reads to %I', granted.rolname);
    end loop;
end
$$;
drop function mailroom.settle_with_sql;
alter function mailroom.settle_with_sql_and_reads rename to settle_with_sql;
