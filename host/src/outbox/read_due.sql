-- Scheduled rows that are due, of each lane in the order of their times, and when the first is due that is not.
select n.next_due_secs as "next_due_secs?",
       (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint as "server!",
       r.lane as "lane?", r.seq as "seq?", r.id as "id?", r.topic as "topic?",
       r.key, r.event_type as "event_type?", r.schema_version, r.payload, r.content_type, r.headers::text, r.trace_id,
       r.traceparent, r.correlation_id, r.causation_id,
       date_part('epoch', statement_timestamp() - greatest(r.created_at, r.scheduled_at)) as "age_secs?"
  from (select min(extract(epoch from f.scheduled_at - statement_timestamp()))::double precision as next_due_secs
          from unnest($1::integer[]) l(id)
         cross join lateral (
               select p.scheduled_at from mailroom.outbox p
                where p.lane = l.id and p.status = 'pending' and not p.held and p.scheduled_at > p.created_at
                  and p.scheduled_at > statement_timestamp()
                order by p.scheduled_at, p.seq limit 1) f) n
  left join (
       select o.*
         from unnest($1::integer[], $2::bigint[]) l(id, bound)
        cross join lateral (
              select p.lane, p.seq, p.id, p.topic, p.key, p.event_type, p.schema_version, p.payload, p.content_type,
                     p.headers, p.trace_id, p.traceparent, p.correlation_id, p.causation_id, p.created_at,
                     p.scheduled_at
                from mailroom.outbox p
               where p.lane = l.id and p.status = 'pending' and not p.held and p.scheduled_at > p.created_at
                 and p.scheduled_at <= statement_timestamp() and p.topic <> all ($3::text[])
               order by p.scheduled_at, p.seq limit l.bound) o
        order by o.scheduled_at, o.seq limit $4) r on true
