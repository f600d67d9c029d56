-- The first pending rows of a key in the outbox, by topic, before a place; with a lane and a hash of the key only those,
-- else those of the key itself. A row that waits for its time lets others of its key pass.
select to_jsonb(o) - array['key', 'payload', 'headers'] as fields, o.key
  from (select distinct on (r.topic) r.place
          from mailroom.lane l
         cross join lateral (
               select p.seq, p.topic, p.key, p.okey, p.scheduled_at, p.ctid as place from mailroom.outbox p
                where p.lane = l.id and p.status = 'pending' and not p.held and p.seq < $4
                order by p.seq limit 100000) r
         where l.kind = 'outbox' and ($1::integer is null or l.id = $1)
           and ($2::bigint is null and r.key = $3 or r.okey = $2 and r.scheduled_at <= statement_timestamp())
         order by r.topic, r.seq) first
  join mailroom.outbox o on o.ctid = first.place
 order by o.topic
