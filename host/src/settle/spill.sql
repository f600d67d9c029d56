-- Rows that wait are held from now on: found by their time where they wake, else with their key. Whether a row is
-- among the held ones already is not known, so it is looked for in both indexes; one that has ended is in neither.
update mailroom.inbox i set held = true, wakes = s.wakes, updated_at = clock_timestamp()
  from (select w.wakes, coalesce(ready.place, waiting.place) as place
          from unnest($1::integer[], $2::bigint[], $3::boolean[]) w(lane, seq, wakes)
          left join lateral (
               select p.ctid as place from mailroom.inbox p
                where p.lane = w.lane and p.seq = w.seq and p.status = 'pending' and not p.held
                limit 1 for update) ready on true
          left join lateral (
               select p.ctid as place from mailroom.inbox p
                where p.lane = w.lane and p.seq between w.seq and w.seq and p.held
                order by p.seq limit 1 for update) waiting on true) s
 where i.ctid = s.place
