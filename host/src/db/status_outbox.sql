-- Every subselect repeats the predicate of its partial index, and walks one lane of it.
select null::text as "consumer_group?",
       count(*) as "lanes!",
       count(*) filter (where h.id is null) as "lanes_without_owner!",
       coalesce(sum(ready.rows), 0)::bigint as "pending!",
       coalesce(sum(behind.rows), 0)::bigint as "held!",
       coalesce(bool_or(ready.rows >= $1 or behind.rows >= $1), false) as "at_least!",
       max(oldest.secs) as "oldest_secs?",
       max(oldest.secs) filter (where h.id is not null) as "oldest_owned_secs?"
  from mailroom.lane l
  left join mailroom.host h on h.id = l.owner and h.expires_at > clock_timestamp()
 cross join lateral (
       select count(*) as rows from (
           select from mailroom.outbox m where m.lane = l.id and m.status = 'pending' and not m.held limit $1) counted) ready
 cross join lateral (
       select count(*) as rows from (
           select from mailroom.outbox m where m.lane = l.id and m.held limit $1) counted) behind
  left join lateral (
       select extract(epoch from clock_timestamp() - greatest(m.created_at, m.scheduled_at))::float8 as secs
         from mailroom.outbox m
        where m.lane = l.id and m.status = 'pending' and not m.held and m.scheduled_at <= statement_timestamp()
        order by m.seq limit 1) oldest on true
 where l.kind = 'outbox'
