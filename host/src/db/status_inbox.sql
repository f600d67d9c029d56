-- Every subselect repeats the predicate of its partial index, and walks one lane of it.
select l.consumer_group as "consumer_group?",
       count(*) as "lanes!",
       count(*) filter (where h.id is null) as "lanes_without_owner!",
       coalesce(sum(ready.rows), 0)::bigint as "pending!",
       coalesce(sum(behind.rows), 0)::bigint as "held!",
       coalesce(bool_or(ready.rows >= $1 or behind.rows >= $1), false) as "at_least!",
       max(extract(epoch from clock_timestamp() - oldest.eligible_at))::float8 as "oldest_secs?"
  from mailroom.lane l
  left join mailroom.host h on h.id = l.owner and h.expires_at > clock_timestamp()
 cross join lateral (
       select count(*) as rows from (
           select from mailroom.inbox m where m.lane = l.id and m.status = 'pending' and not m.held limit $1) counted) ready
 cross join lateral (
       select count(*) as rows from (
           select from mailroom.inbox m where m.lane = l.id and m.held limit $1) counted) behind
  left join lateral (
       select greatest(m.created_at, m.scheduled_at) as eligible_at from mailroom.inbox m
        where m.lane = l.id and m.status = 'pending' and not m.held and m.scheduled_at <= statement_timestamp()
        order by m.seq limit 1) oldest on true
 where l.kind = 'inbox'
 group by l.consumer_group
 order by l.consumer_group
