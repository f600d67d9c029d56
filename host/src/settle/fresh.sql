-- A poll's records become rows, each with what its handler has decided by now, if anything. A message that the
-- group has already, by its id in topic and source, is left out, and is not among the rows returned. Each seq was drawn beforehand, by a
-- host that had the lane already.
insert into mailroom.inbox (
    seq, consumer_group, max_attempts, lane, okey, id, message_id, topic, partition, "offset", source, event_type,
    schema_version, key, payload, content_type, headers, produced_at_ms, trace_id, traceparent, correlation_id,
    causation_id, idempotency_key, held, status, outcome, outcome_reason, failed_reason, attempts_made, deliveries,
    last_error, handler_digest, scheduled_at, completed_at, unfit, wakes)
overriding system value
select r.seq, $1, r.max_attempts, r.lane, r.okey, r.id, r.message_id, r.topic, r.partition, r."offset", r.source,
       r.event_type, r.schema_version, r.key, r.payload, r.content_type, r.headers::jsonb, r.produced_at_ms, r.trace_id,
       r.traceparent, r.correlation_id, r.causation_id, r.idempotency_key, r.held, r.status, r.outcome,
       r.outcome_reason, r.failed_reason, r.attempts_made, r.deliveries, r.last_error, r.handler_digest,
       clock_timestamp() + make_interval(secs => r.delay),
       case when r.status = 'completed' then clock_timestamp() end, r.unfit, r.wakes
  from unnest(
       $2::bigint[], $3::integer[], $4::integer[], $5::bigint[], $6::uuid[], $7::text[], $8::text[], $9::integer[],
       $10::bigint[], $11::text[], $12::text[], $13::text[], $14::bytea[], $15::bytea[], $16::text[], $17::text[],
       $18::bigint[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::boolean[], $25::text[],
       $26::text[], $27::text[], $28::text[], $29::integer[], $30::integer[], $31::text[], $32::text[],
       $33::double precision[], $34::text[], $35::boolean[])
       r(seq, max_attempts, lane, okey, id, message_id, topic, partition, "offset", source, event_type,
         schema_version, key, payload, content_type, headers, produced_at_ms, trace_id, traceparent,
         correlation_id, causation_id, idempotency_key, held, status, outcome, outcome_reason, failed_reason,
         attempts_made, deliveries, last_error, handler_digest, delay, unfit, wakes)
    on conflict (message_id, consumer_group, topic, source) do nothing
returning seq
