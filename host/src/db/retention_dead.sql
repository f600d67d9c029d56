-- One stretch of blocks: letters that were closed long enough ago go, and with a discarded one its message,
-- which nothing can bring back. Open letters are not touched, nor what blocks a key.
with seen as materialized (
    select d.ctid as place, coalesce(d.discarded_at, d.replayed_at) as closed_at, d.discarded_at, d.origin, d.message,
           d.message_id, d.consumer_group, d.lane, d.seq
      from mailroom.dead_letter d
     where d.ctid >= format('(%s,0)', $1::bigint)::tid and d.ctid < format('(%s,0)', $2::bigint)::tid
       and coalesce(d.discarded_at, d.replayed_at) is not null
       and not exists (select 1 from mailroom.blocked_key b
                        where d.origin = 'inbox' and b.lane = d.lane and b.seq = d.seq)),
due as materialized (
    select s.* from seen s where s.closed_at < statement_timestamp() - make_interval(secs => $3) limit $4),
discarded as materialized (
    select d.* from due d
     where d.discarded_at is not null
       and not exists (select 1 from mailroom.dead_letter o where o.origin = d.origin and o.seq = d.seq
                          and o.replayed_at is null and o.discarded_at is null)),
from_inbox as (
    delete from mailroom.inbox i using discarded d
     where d.origin = 'inbox' and i.message_id = d.message_id and i.consumer_group = d.consumer_group
       and i.seq = d.seq and i.status = 'failed'
    returning i.lane, i.seq),
attempts as (
    delete from mailroom.attempt a
     using (select p.place from from_inbox g
             cross join lateral (select t.ctid as place from mailroom.attempt t
                                  where t.lane = g.lane and t.seq = g.seq offset 0) p) r
     where a.ctid = r.place),
from_outbox as (
    delete from mailroom.outbox o using discarded d
     where d.origin = 'outbox' and o.id = d.message and o.status = 'failed'),
gone as (
    delete from mailroom.dead_letter l using due d where l.ctid = d.place returning 1)
select (select count(*) from due) as "due!", (select count(*) from gone) as "deleted!",
       (select max((d.place::text::point)[0])::bigint from due d) as last_block,
       (select min(s.closed_at) from seen s where s.closed_at >= statement_timestamp() - make_interval(secs => $3)) as oldest_at
