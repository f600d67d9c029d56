-- What handlers emitted, in the order of their messages. An idempotency key that the group has used emits
-- nothing: each group has keys of its own, told apart by U+001F, which no group has in its name.
insert into mailroom.outbox (
    id, topic, key, event_type, payload, content_type, headers, schema_version, idempotency_key, correlation_id,
    causation_id, trace_id, traceparent, scheduled_at)
select e.id, e.topic, e.key, e.event_type, e.payload, e.content_type, e.headers::jsonb, e.schema_version,
       $15 || chr(31) || e.idempotency_key, e.correlation_id, e.causation_id, e.trace_id, e.traceparent,
       clock_timestamp() + make_interval(secs => e.delay)
  from unnest(
       $1::uuid[], $2::text[], $3::bytea[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::text[],
       $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::double precision[])
       with ordinality e(id, topic, key, event_type, payload, content_type, headers, schema_version,
            idempotency_key, correlation_id, causation_id, trace_id, traceparent, delay, place)
 order by e.place
    on conflict (idempotency_key) where idempotency_key is not null do nothing
