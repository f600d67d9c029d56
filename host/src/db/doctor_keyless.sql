-- Topics of these to which records without a key are published: those that are pending, 10,000 a lane, and the newest.
select o.topic, count(*) as records
  from (select p.topic from mailroom.lane l
         cross join lateral (
               select p.topic, p.key from mailroom.outbox p
                where p.lane = l.id and p.status = 'pending' and not p.held order by p.seq limit 10000) p
         where l.kind = 'outbox' and p.key is null and p.topic = any($1)
        union all
        select n.topic from mailroom.outbox n
         where n.ctid >= format('(%s,0)', greatest(0, pg_relation_size('mailroom.outbox') / 8192 - 1000))::tid
           and n.status <> 'pending' and n.key is null and n.topic = any($1)) o
 group by o.topic
 order by o.topic
