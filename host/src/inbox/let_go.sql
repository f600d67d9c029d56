-- The first held rows of a key become readable again. Ordered before they are updated, since RETURNING
-- gives no order; fenced, so that only the lane's owner does it.
with first as materialized (
    select i.ctid as place from mailroom.inbox i
     where i.lane = $1 and i.okey = $3 and i.held and i.seq <= $4
       and exists (select 1 from mailroom.lane l where l.id = $1 and l.token = $2)
     order by i.seq limit $5 for update),
freed as (
    update mailroom.inbox i set held = false, updated_at = clock_timestamp()
      from first where i.ctid = first.place
    returning i.*)
select seq, okey, id, message_id, partition, "offset", source, event_type, schema_version, key, payload,
       content_type, headers::text, produced_at_ms, trace_id, traceparent, correlation_id, causation_id,
       idempotency_key, attempts_made, max_attempts, deliveries, crashes, begun, unfit,
       greatest(0, extract(epoch from scheduled_at - clock_timestamp()))::double precision as "due_secs!"
  from freed order by seq
