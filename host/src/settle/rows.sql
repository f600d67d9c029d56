-- Ends deliveries of rows that were ready. A row is hit only as it was called: pending, where it was found, and with
-- as many deliveries as then. So what somebody has edited or ended meanwhile is left as it is.
-- The rows are found one by one through the index, and updated by their place: a plain join may start
-- from all pending rows, where the planner last saw none.
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
       -- What waits for long is found by its time, away from what is ready.
       held = s.held, wakes = s.held,
       updated_at = clock_timestamp()
  from (select w.*, r.place
          from unnest($1::integer[], $2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[],
                      $8::integer[], $9::text[], $10::text[], $11::double precision[], $12::boolean[])
               w(lane, seq, deliveries, status, outcome, outcome_reason, failed_reason, counted, last_error,
                 digest, delay, held)
         cross join lateral (
               select p.ctid as place from mailroom.inbox p
                where p.lane = w.lane and p.seq = w.seq and p.status = 'pending' and not p.held
                  and p.deliveries = w.deliveries
                limit 1 for update) r) s
 where i.ctid = s.place
returning i.lane, i.seq
