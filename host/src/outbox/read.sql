-- The next rows of all lanes of a relay, one index range a lane: from the horizon, so that rows that were
-- committed late are seen, or from the floor of a transaction that the horizon has passed, where that has
-- ended in this very snapshot.
-- Scheduled rows are left out: a delay holds back the message, not its key. Where asked for, the time of the
-- first of them comes with the rows.
-- What the snapshot says of others comes with the rows, and where asked for an id of our own: the relay's
-- horizon is made of these. A sequence of which nothing was drawn yet shows what will be. When the server was started
-- tells it from another, as after a failover.
-- Sorted over all lanes, so that a page cut by the limit holds a prefix of every lane.
with ended as materialized (
     select w.id, w.floor from unnest($6::bigint[], $7::bigint[]) w(id, floor)
      where pg_visible_in_snapshot(w.id::text::xid8, pg_current_snapshot()))
select case when s.is_called then s.last_value else s.last_value - 1 end as "last_seq!",
       (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint as "server!",
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint as "xmax!",
       case when $8::boolean then pg_current_xact_id()::text::bigint end as "own_id?",
       array(select x::text::bigint from pg_snapshot_xip(pg_current_snapshot()) x
              where x < $9::bigint::text::xid8 order by x limit $10) as "open!",
       array(select id from ended) as "ended!",
       case when $11::boolean then (
            select min(extract(epoch from f.scheduled_at - statement_timestamp()))::double precision
              from unnest($1::integer[]) l(id)
             cross join lateral (
                   select p.scheduled_at from mailroom.outbox p
                    where p.lane = l.id and p.status = 'pending' and not p.held and p.scheduled_at > p.created_at
                    order by p.scheduled_at, p.seq limit 1) f) end as "next_due_secs?",
       r.lane as "lane?", r.seq as "seq?", r.id as "id?", r.topic as "topic?", r.key, r.event_type as "event_type?",
       r.schema_version, r.payload, r.content_type, r.headers::text, r.trace_id, r.traceparent, r.correlation_id,
       r.causation_id,
       date_part('epoch', statement_timestamp() - greatest(r.created_at, r.scheduled_at)) as "age_secs?"
  from mailroom.outbox_seq_seq s
  left join (
       select o.*
         from unnest($1::integer[], $2::bigint[], $3::bigint[]) l(id, late, bound)
        cross join lateral (
              select p.lane, p.seq, p.id, p.topic, p.key, p.event_type, p.schema_version, p.payload, p.content_type,
                     p.headers, p.trace_id, p.traceparent, p.correlation_id, p.causation_id, p.created_at, p.scheduled_at
                from mailroom.outbox p
               where p.lane = l.id and p.status = 'pending' and not p.held
                 and p.seq > least(l.late, (select min(e.floor) from ended e))
                 and p.scheduled_at <= p.created_at and p.topic <> all ($4::text[])
               order by p.seq limit l.bound) o
        order by o.seq limit $5) r on true
