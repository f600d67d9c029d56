-- The first pending rows of keys of the inbox, each before a place. Ready rows are in no order of keys: of a lane 100,000
-- are looked through.
select to_jsonb(i) - array['key', 'payload', 'headers'] as fields, i.key
  from unnest($1::integer[], $2::bigint[], $3::bigint[]) w(lane, okey, before)
 cross join lateral (
       select found.place
         from ((select r.seq, r.place
                  from (select p.seq, p.okey, p.ctid as place from mailroom.inbox p
                         where p.lane = w.lane and p.status = 'pending' and not p.held and p.seq < w.before
                         order by p.seq limit 100000) r
                 where r.okey = w.okey order by r.seq limit 1)
               union all
               (select p.seq, p.ctid from mailroom.inbox p
                 where p.lane = w.lane and p.held and p.okey = w.okey and p.seq < w.before
                 order by p.okey, p.seq limit 1)) found
        order by found.seq limit 1) first
  join mailroom.inbox i on i.ctid = first.place
 order by i.lane, i.seq
