-- A poll's records in one insert. Ordered, so that seq rises with the offset; a message that the
-- group has already is left out, and is not among the rows returned.
insert into mailroom.inbox (
    consumer_group, max_attempts, lane, okey, id, message_id, topic, partition, "offset", source, event_type,
    schema_version, key, payload, content_type, headers, produced_at_ms, trace_id, traceparent, correlation_id,
    causation_id, idempotency_key, status, failed_reason, last_error)
select $1, $2, r.lane, r.okey, r.id, r.message_id, r.topic, r.partition, r."offset", r.source, r.event_type,
       r.schema_version, r.key, r.payload, r.content_type, r.headers, r.produced_at_ms, r.trace_id, r.traceparent,
       r.correlation_id, r.causation_id, r.idempotency_key,
       case when r.quarantined is null then 'pending' else 'failed' end,
       case when r.quarantined is not null then 'quarantined' end, r.quarantined
  from unnest(
       $3::integer[], $4::bigint[], $5::uuid[], $6::text[], $7::text[], $8::integer[], $9::bigint[], $10::text[],
       $11::text[], $12::text[], $13::bytea[], $14::bytea[], $15::text[], $16::jsonb[], $17::bigint[], $18::text[],
       $19::text[], $20::text[], $21::text[], $22::text[], $23::text[])
       with ordinality r(lane, okey, id, message_id, topic, partition, "offset", source, event_type, schema_version,
            key, payload, content_type, headers, produced_at_ms, trace_id, traceparent, correlation_id,
            causation_id, idempotency_key, quarantined, place)
 order by r.place
    on conflict (message_id, consumer_group) do nothing
returning lane, "offset", seq
