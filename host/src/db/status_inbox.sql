-- Every subselect repeats the predicate of its partial index, and walks one lane of it; what may be long is cut short.
select l.consumer_group as "consumer_group?",
       count(*) as "lanes!",
       count(*) filter (where h.id is null) as "lanes_without_owner!",
       coalesce(sum(ready.rows), 0)::bigint as "pending!",
       coalesce(sum(waking.rows), 0)::bigint as "waiting!",
       coalesce(sum(held.rows - waking.rows), 0)::bigint as "behind!",
       coalesce(bool_or(ready.rows >= $1 or held.rows >= $1), false) as "at_least!",
       max(oldest.secs) as "oldest_secs?",
       max(oldest.secs) filter (where h.id is not null) as "oldest_owned_secs?"
  from mailroom.lane l
  left join mailroom.host h on h.id = l.owner and h.expires_at > clock_timestamp()
 cross join lateral (
       select count(*) as rows from (
           select from mailroom.inbox m where m.lane = l.id and m.status = 'pending' and not m.held limit $1) counted) ready
 cross join lateral (
       select count(*) as rows from (
           select from mailroom.inbox m where m.lane = l.id and m.held limit $1) counted) held
 cross join lateral (
       -- The order is that of the index which has these rows only.
       select count(*) as rows from (
           select from mailroom.inbox m where m.lane = l.id and m.held and m.wakes
            order by m.scheduled_at limit $1) counted) waking
  left join lateral (
       select greatest(m.created_at, m.scheduled_at) as since from mailroom.inbox m
        where m.lane = l.id and m.status = 'pending' and not m.held and m.scheduled_at <= statement_timestamp()
          and not exists (select from mailroom.blocked_key b where b.lane = m.lane and b.okey = m.okey)
        order by m.seq limit 1) oldest_ready on true
 cross join lateral (
       select min(greatest(d.created_at, d.scheduled_at)) as since
         from (select m.okey, m.created_at, m.scheduled_at from mailroom.inbox m
                where m.lane = l.id and m.held and m.wakes and m.scheduled_at <= statement_timestamp()
                order by m.scheduled_at limit 1000) d
        where not exists (select from mailroom.blocked_key b where b.lane = l.id and b.okey = d.okey)) oldest_due
 cross join lateral (
       -- The first row of each key that no time wakes, by leaps over the index by key.
       with recursive firsts as (
           (select m.okey, m.wakes, m.created_at, m.scheduled_at, 1 as place from mailroom.inbox m
             where m.lane = l.id and m.held and m.okey is not null order by m.okey, m.seq limit 1)
           union all
           select n.okey, n.wakes, n.created_at, n.scheduled_at, f.place + 1
             from firsts f
            cross join lateral (
                  select m.okey, m.wakes, m.created_at, m.scheduled_at from mailroom.inbox m
                   where m.lane = l.id and m.held and m.okey > f.okey order by m.okey, m.seq limit 1) n
            where f.place < 1000)
       select min(greatest(f.created_at, f.scheduled_at)) as since from firsts f
        where not f.wakes and f.scheduled_at <= statement_timestamp()
          and not exists (select from mailroom.blocked_key b where b.lane = l.id and b.okey = f.okey)) oldest_first
 cross join lateral (
       select extract(epoch from clock_timestamp()
                  - least(oldest_ready.since, oldest_due.since, oldest_first.since))::float8 as secs) oldest
 where l.kind = 'inbox'
 group by l.consumer_group
 order by l.consumer_group
