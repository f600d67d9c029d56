-- Copies of dead letters for a Kafka topic, through the outbox: the record as it came, and why it died. A copy
-- has its letter's id. A bearer token is left out, as nothing with one gets into the outbox. What came from that very topic is not copied to it, or it would go round for ever.
insert into mailroom.outbox (
    id, topic, key, event_type, schema_version, payload, content_type, headers, trace_id, traceparent, correlation_id,
    causation_id)
select d.id, $1, i.key, i.event_type, i.schema_version, i.payload, i.content_type,
       -- A name that is no text is what some are quarantined for, and Kafka's client does not take it.
       coalesce((select jsonb_agg(e.header order by e.place)
                   from jsonb_array_elements(i.headers) with ordinality e(header, place)
                  where jsonb_typeof(e.header -> 0) = 'string'
                    and jsonb_typeof(e.header -> 1) in ('string', 'object', 'null')
                    and not mailroom.bears_token(jsonb_build_array(e.header))), '[]')
       || (select jsonb_agg(jsonb_build_array(h.name, h.value) order by h.place)
             from (values (1, 'dlq_reason', d.reason), (2, 'dlq_fault', d.fault), (3, 'dlq_code', d.code),
                          (4, 'dlq_error', d.error), (5, 'dlq_handler', d.handler), (6, 'dlq_group', d.consumer_group),
                          (7, 'dlq_topic', d.topic), (8, 'dlq_partition', d.partition::text),
                          (9, 'dlq_offset', d."offset"::text), (10, 'dlq_message_id', d.message_id),
                          (11, 'dlq_attempts', d.attempts::text), (12, 'dlq_deliveries', d.deliveries::text),
                          (13, 'dlq_died_at', to_char(d.died_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))
                  h(place, name, value)
            where h.value is not null),
       i.trace_id, i.traceparent, i.correlation_id, i.causation_id
  from unnest($2::uuid[]) with ordinality w(id, place)
  join mailroom.dead_letter d on d.id = w.id
  join mailroom.inbox i on i.message_id = d.message_id and i.consumer_group = d.consumer_group and i.seq = d.seq
 where d.origin = 'inbox' and d.topic <> $1
 order by w.place
