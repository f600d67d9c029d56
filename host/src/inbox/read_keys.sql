-- The first held rows of each key, from behind what was read of it, in order: whoever stops reading has the first of
-- each. The bounds are pairs, as the order is, so that no other index will do than that by key: a planner that saw no
-- held row would take any.
select r.seq, r.okey, r.id, r.message_id, r.partition, r."offset", r.source, r.event_type, r.schema_version, r.key,
       r.payload, r.content_type, r.headers::text, r.produced_at_ms, r.trace_id, r.traceparent, r.correlation_id,
       r.causation_id, r.idempotency_key, r.attempts_made, r.max_attempts, r.deliveries, r.crashes, r.begun, r.held,
       r.wakes, r.unfit,
       greatest(0, extract(epoch from r.scheduled_at - clock_timestamp()))::double precision as "due_secs!"
  from unnest($3::bigint[], $4::bigint[]) w(okey, after)
 cross join lateral (
       select p.* from mailroom.inbox p
        where p.lane = $1 and p.held and (p.okey, p.seq) > (w.okey, w.after)
          and (p.okey, p.seq) <= (w.okey, $5::bigint)
        order by p.okey, p.seq limit $6) r
 where exists (select 1 from mailroom.lane where id = $1 and token = $2)
 order by r.seq
