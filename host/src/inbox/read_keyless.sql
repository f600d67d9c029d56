-- Held rows without a key, each by its place: by a range and in order, which the index by place alone has, since a
-- planner that saw no held row would take any.
select r.seq, r.okey, r.id, r.message_id, r.partition, r."offset", r.source, r.event_type, r.schema_version, r.key,
       r.payload, r.content_type, r.headers::text, r.produced_at_ms, r.trace_id, r.traceparent, r.correlation_id,
       r.causation_id, r.idempotency_key, r.attempts_made, r.max_attempts, r.deliveries, r.crashes, r.begun, r.held,
       r.wakes, r.unfit,
       greatest(0, extract(epoch from r.scheduled_at - clock_timestamp()))::double precision as "due_secs!"
  from unnest($3::bigint[]) w(seq)
 cross join lateral (
       select p.* from mailroom.inbox p
        where p.lane = $1 and p.held and p.okey is null and p.seq between w.seq and w.seq
        order by p.seq limit 1) r
 where exists (select 1 from mailroom.lane where id = $1 and token = $2)
