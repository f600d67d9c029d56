select d.id, d.origin, d.message, d.message_id, d.handler, d.topic, d.event_type, d.reason, d.fault, d.code, d.error,
       d.attempts, d.deliveries, d.died_at, d.replayed_at, d.discarded_at
  from mailroom.dead_letter d
 where (cardinality($1::uuid[]) = 0 or d.id = any ($1) or d.message = any ($1))
   and ($2::text is null or d.handler = $2)
   and ($3::text is null or d.topic = $3)
   and ($4::text is null or d.reason = $4)
   and ($5::text is null or coalesce(d.code, '') = $5)
   and ($9::text is null or coalesce(d.fault, '') = $9)
   and ($6::text is null or $6 = case when d.replayed_at is not null then 'replayed'
                                      when d.discarded_at is not null then 'discarded' else 'open' end)
   and ($7::float8 is null or d.died_at >= statement_timestamp() - make_interval(secs => $7))
 -- Ids are made in the order of time.
 order by d.id desc
 limit $8
