-- By the primary key.
with letter as materialized (
    select d.id, d.message, d.seq
      from unnest($1::uuid[]) l(id)
           -- By its id alone: with what says that it is open, a planner may walk all open ones for each.
     cross join lateral (select * from mailroom.dead_letter d where d.id = l.id limit 1) d
     where d.origin = 'outbox' and d.replayed_at is null and d.discarded_at is null
     order by d.seq
)
update mailroom.outbox o
   set status = 'pending', failed_reason = null, attempts_made = 0, last_error = null,
       scheduled_at = clock_timestamp(), updated_at = clock_timestamp()
  from letter
 where o.id = letter.message and o.status = 'failed'
returning letter.id
