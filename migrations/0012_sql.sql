-- How a message ends whose handler used SQL: in the handler's own transaction, on a connection that is logged in
-- as the handler's role and may touch nothing here. It runs as this function's owner, and whoever calls it has
-- to know the id of the host that owns the lane: 122 random bits that no such role can read. So a guest that
-- calls it can end neither its own message nor another's.
-- Everything or nothing: what is no longer as the host left it raises, and takes the handler's writes with it.
-- SQLSTATE MR001: the lane is another host's. MR002: the message is no longer as it was delivered. MR003:
-- another has written a value of state since it was read.
create function mailroom.settle_with_sql(
    of_host uuid, of_lane integer, of_token bigint, of_seq bigint, as_delivered integer, digest text, emitted jsonb,
    written jsonb)
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
    write record;
begin
    select l.reread into counter from mailroom.lane l
     where l.id = of_lane and l.token = of_token and l.owner = of_host for key share;
    if not found then
        raise exception using errcode = 'MR001', message = 'the lane is another host''s';
    end if;
    update mailroom.inbox i
       set status = 'completed', outcome = 'completed', deliveries = i.deliveries + 1,
           crashes = case when i.lone then 0 else i.crashes end, lone = false, handler_digest = digest,
           completed_at = clock_timestamp(), updated_at = clock_timestamp()
     where i.lane = of_lane and i.seq = of_seq and i.status = 'pending' and not i.held
       and i.deliveries = as_delivered
    returning i.* into message;
    if not found then
        raise exception using errcode = 'MR002', message = 'the message is no longer as it was delivered';
    end if;
    insert into mailroom.outbox (
        id, topic, key, event_type, payload, content_type, headers, schema_version, idempotency_key, correlation_id,
        causation_id, trace_id, traceparent, scheduled_at)
    select e.id, e.topic, decode(e.key, 'base64'), e.event_type, decode(e.payload, 'base64'), e.content_type,
           nullif(e.headers, 'null'), e.schema_version, e.idempotency_key,
           coalesce(message.correlation_id, message.message_id), message.message_id, message.trace_id,
           message.traceparent, clock_timestamp() + make_interval(secs => e.delay)
      from jsonb_to_recordset(emitted) e(
           place integer, id uuid, topic text, key text, event_type text, payload text, content_type text,
           headers jsonb, schema_version text, idempotency_key text, delay double precision)
     order by e.place
        on conflict (idempotency_key) where idempotency_key is not null do nothing;
    -- By name, as every settlement locks them.
    for write in
        select w.scope, decode(w.key, 'base64') as key, w.name, decode(w.value, 'base64') as value, w.read, w.written
          from jsonb_to_recordset(written) w(
               scope text, key text, name text, value text, read bigint, written bigint)
         where w.read <> 0 or w.value is not null
         order by 1, 2, w.name collate "C"
    loop
        if write.read = 0 then
            insert into mailroom.state (consumer_group, scope, key, name, value, version)
            values (message.consumer_group, write.scope, write.key, write.name, write.value, write.written)
                on conflict do nothing;
        elsif write.value is null then
            delete from mailroom.state s
             where s.consumer_group = message.consumer_group and s.scope = write.scope and s.key = write.key
               and s.name = write.name and s.version = write.read;
        else
            update mailroom.state s
               set value = write.value, version = write.written, updated_at = clock_timestamp()
             where s.consumer_group = message.consumer_group and s.scope = write.scope and s.key = write.key
               and s.name = write.name and s.version = write.read;
        end if;
        if not found then
            raise exception using errcode = 'MR003', message = 'another has written the state ' || write.name;
        end if;
    end loop;
    return counter;
end
$$;

revoke all on function mailroom.settle_with_sql(uuid, integer, bigint, bigint, integer, text, jsonb, jsonb) from public;
