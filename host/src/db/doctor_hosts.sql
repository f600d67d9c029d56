-- Hosts whose clock is ahead of Postgres': they wait since a moment that has not come.
select h.worker,
       max(extract(epoch from (w.wait ->> 'since')::timestamptz - clock_timestamp()))::float8 as ahead_secs
  from mailroom.host h cross join jsonb_array_elements(h.waits) w(wait)
 where (w.wait ->> 'since')::timestamptz > clock_timestamp()
 group by h.worker
 order by h.worker
