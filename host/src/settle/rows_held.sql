-- The same as `rows.sql`, of rows that were held when they were called: they are found among the held ones, and stay
-- there where they wait again. By a range and in order, which the index by place alone has, since a planner that saw no
-- held row would take any.
update mailroom.inbox i
   set status = s.status, outcome = s.outcome, outcome_reason = s.outcome_reason, failed_reason = s.failed_reason,
       attempts_made = i.attempts_made + s.counted,
       -- Its budget may be another by now than when it was stored.
       max_attempts = case when s.failed_reason = 'exhausted' then greatest(1, i.attempts_made + s.counted)
                           else i.max_attempts end,
       deliveries = i.deliveries + 1,
       -- Whoever ran alone and came back kills nobody.
       crashes = case when i.lone then 0 else i.crashes end, lone = false,
       last_error = coalesce(s.last_error, i.last_error), handler_digest = coalesce(s.digest, i.handler_digest),
       scheduled_at = case when s.delay is null then i.scheduled_at
                           else clock_timestamp() + make_interval(secs => s.delay) end,
       completed_at = case when s.status = 'completed' then clock_timestamp() end,
       held = s.held, wakes = s.held,
       updated_at = clock_timestamp()
  from (select w.*, r.place
          from unnest($1::integer[], $2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[],
                      $8::integer[], $9::text[], $10::text[], $11::double precision[], $12::boolean[])
               w(lane, seq, deliveries, status, outcome, outcome_reason, failed_reason, counted, last_error,
                 digest, delay, held)
         cross join lateral (
               select p.ctid as place from mailroom.inbox p
                where p.lane = w.lane and p.seq between w.seq and w.seq and p.held
                  and p.deliveries = w.deliveries
                order by p.seq limit 1 for update) r) s
 where i.ctid = s.place
returning i.lane, i.seq
