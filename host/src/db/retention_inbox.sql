-- One stretch of blocks: what was completed long enough ago goes, at most so many rows.
with seen as materialized (
    select i.ctid as place, i.completed_at from mailroom.inbox i
     where i.ctid >= format('(%s,0)', $1::bigint)::tid and i.ctid < format('(%s,0)', $2::bigint)::tid
       and i.status = 'completed'),
due as materialized (
    select s.place from seen s where s.completed_at < statement_timestamp() - make_interval(secs => $3) limit $4),
gone as (
    delete from mailroom.inbox i using due where i.ctid = due.place and i.status = 'completed'
    returning i.lane, i.seq),
-- Found one by one through the index, and deleted by their place: most rows have none.
attempts as (
    delete from mailroom.attempt a
     using (select p.place from gone g
             cross join lateral (select t.ctid as place from mailroom.attempt t
                                  where t.lane = g.lane and t.seq = g.seq offset 0) p) r
     where a.ctid = r.place)
select (select count(*) from due) as "due!", (select count(*) from gone) as "deleted!",
       (select max((d.place::text::point)[0])::bigint from due d) as last_block,
       (select min(s.completed_at) from seen s where s.completed_at >= statement_timestamp() - make_interval(secs => $3)) as oldest_at
