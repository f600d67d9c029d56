-- The first rows of one topic in all lanes, in order of `seq`; scheduled ones that are due are among them. From the
-- lanes' starts: it is rare, and whatever was committed late is seen with the rest.
select (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint as "server!",
       o.lane as "lane?", o.seq as "seq?", o.id as "id?", o.topic as "topic?", o.key, o.event_type as "event_type?",
       o.schema_version, o.payload, o.content_type, o.headers::text, o.trace_id, o.traceparent, o.correlation_id,
       o.causation_id,
       date_part('epoch', statement_timestamp() - greatest(o.created_at, o.scheduled_at)) as "age_secs?"
  from unnest($1::integer[], $2::bigint[]) l(id, bound)
 cross join lateral (
       select p.lane, p.seq, p.id, p.topic, p.key, p.event_type, p.schema_version, p.payload, p.content_type,
              p.headers, p.trace_id, p.traceparent, p.correlation_id, p.causation_id, p.created_at, p.scheduled_at
         from mailroom.outbox p
        where p.lane = l.id and p.status = 'pending' and not p.held and p.topic = $3
          and p.scheduled_at <= statement_timestamp()
        order by p.seq limit l.bound) o
 order by o.seq limit $4
