-- What fences `settle_with_sql` is a secret of its own, apart from the id of the host, which people see: a key that
-- Postgres makes, that no statement and no log has, and of which a statement shows only a proof that is good for one
-- message in one transaction. So whoever reads logs, or what a guest had Postgres print, learns nothing.
create table mailroom.host_key (
    -- Outlives the host's row: one that was buried settles what nobody has taken from it yet.
    host  uuid primary key,
    key   uuid not null default gen_random_uuid()
);
revoke all on mailroom.host_key from public;

-- The proof that the owner of a lane settles a message in the current transaction.
create function mailroom.settle_proof(key uuid, lane integer, token bigint, seq bigint) returns uuid
language sql volatile
return encode(substring(sha256(
    uuid_send(key) || convert_to(
        pg_current_xact_id()::text || ':' || lane || ':' || token || ':' || seq, 'UTF8')) from 1 for 16), 'hex')::uuid;
revoke all on function mailroom.settle_proof from public;

-- How a message ends whose handler used SQL: in the handler's own transaction, on a connection that is logged in
-- as the handler's role and may touch nothing here. It runs as this function's owner, and whoever calls it has to
-- prove that it knows the key of the lane's owner, which no such role can read: `of_host` is the proof. A host of the
-- version before has no key, and gives its id. So a guest that calls it can end neither its own message nor another's.
-- Everything or nothing: what is no longer as the host left it raises, and takes the handler's writes with it.
-- SQLSTATE MR001: the lane is another host's. MR002: the message is no longer as it was delivered. MR003:
-- another has written a value of state since it was read.
create or replace function mailroom.settle_with_sql(
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
    lies_at tid;
begin
    select l.reread into counter from mailroom.lane l
      left join mailroom.host_key k on k.host = l.owner
     where l.id = of_lane and l.token = of_token
       and of_host = case when k.host is null then l.owner
                          else mailroom.settle_proof(k.key, of_lane, of_token, of_seq) end
       for key share of l;
    if not found then
        raise exception using errcode = 'MR001', message = 'the lane is another host''s';
    end if;
    select p.ctid into lies_at from mailroom.inbox p
     where p.lane = of_lane and p.seq = of_seq and p.status = 'pending' and not p.held
       and p.deliveries = as_delivered
     limit 1 for update;
    if not found then
        -- A range and an order, which the index by place alone has: a planner that saw no held row would take any.
        select p.ctid into lies_at from mailroom.inbox p
         where p.lane = of_lane and p.seq between of_seq and of_seq and p.held and p.deliveries = as_delivered
         order by p.seq limit 1 for update;
    end if;
    update mailroom.inbox i
       set status = 'completed', outcome = 'completed', held = false, wakes = false, deliveries = i.deliveries + 1,
           crashes = case when i.lone then 0 else i.crashes end, lone = false,
           handler_digest = coalesce(digest, i.handler_digest), completed_at = clock_timestamp(),
           updated_at = clock_timestamp()
     where i.ctid = lies_at
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
