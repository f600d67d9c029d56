-- The next rows of all lanes of a relay, one index range a lane: from the horizon, so that rows that were
-- committed late are seen. Up to the mark the relay knows what it has in hand and what is not due.
-- The sequence's value, the oldest open transaction and, where asked for, an id of our own come with
-- them, rows or not: the relay's horizon is made of these.
-- Sorted over all lanes, so that a page cut by the limit holds a prefix of every lane.
select s.last_value as "last_seq!",
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint as "xmin!",
       case when $8::boolean then pg_current_xact_id()::text::bigint end as "own_id?",
       r.lane as "lane?", r.seq as "seq?", r.id as "id?", r.topic as "topic?", r.key, r.event_type as "event_type?",
       r.schema_version, r.payload, r.content_type, r.headers, r.trace_id, r.traceparent, r.correlation_id,
       r.causation_id, r.due_secs as "due_secs?"
  from mailroom.outbox_seq_seq s
  left join (
       select o.*
         from unnest($1::integer[], $2::bigint[], $3::bigint[], $4::integer[]) l(id, late, mark, known)
        cross join lateral (
              select p.lane, p.seq, p.id, p.topic, p.key, p.event_type, p.schema_version, p.payload, p.content_type,
                     p.headers, p.trace_id, p.traceparent, p.correlation_id, p.causation_id,
                     extract(epoch from p.scheduled_at - clock_timestamp())::double precision as due_secs
                from mailroom.outbox p
               where p.lane = l.id and p.status = 'pending' and not p.held and p.seq > l.late
                 and (p.seq > l.mark or p.scheduled_at <= clock_timestamp())
                 and p.topic <> all ($5::text[])
               order by p.seq limit $6::bigint + l.known) o
        order by o.seq limit $7) r on true
