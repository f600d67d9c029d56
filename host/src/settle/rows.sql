-- Ends deliveries. A row is hit only as it was delivered: pending, and with as many deliveries as then.
-- So an update that was committed although its reply was lost is not applied a second time.
update mailroom.inbox i
   set status = s.status, outcome = s.outcome, outcome_reason = s.outcome_reason, failed_reason = s.failed_reason,
       attempts_made = i.attempts_made + s.counted, deliveries = i.deliveries + 1,
       last_error = coalesce(s.last_error, i.last_error), handler_digest = coalesce(s.digest, i.handler_digest),
       scheduled_at = coalesce(clock_timestamp() + make_interval(secs => s.delay), i.scheduled_at),
       completed_at = case when s.status = 'completed' then clock_timestamp() end,
       updated_at = clock_timestamp()
  from unnest($1::integer[], $2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[],
              $8::integer[], $9::text[], $10::text[], $11::double precision[])
       s(lane, seq, deliveries, status, outcome, outcome_reason, failed_reason, counted, last_error, digest, delay)
 where i.lane = s.lane and i.seq = s.seq and i.status = 'pending' and not i.held and i.deliveries = s.deliveries
returning i.lane, i.seq
