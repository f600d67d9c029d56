-- Keys with held rows, ascending from one on, and how the first row of each is found. By leaps over the index by key:
-- whatever a key has behind its first row is not walked.
with recursive keys as (
    (select i.okey, i.wakes from mailroom.inbox i
      where i.lane = $1 and i.held and i.okey >= $3 order by i.okey, i.seq limit 1)
    union all
    select n.okey, n.wakes from keys
     cross join lateral (
           select i.okey, i.wakes from mailroom.inbox i
            where i.lane = $1 and i.held and i.okey > keys.okey order by i.okey, i.seq limit 1) n)
select okey as "okey!", wakes as "wakes!" from keys
 where exists (select 1 from mailroom.lane where id = $1 and token = $2)
 limit $4
