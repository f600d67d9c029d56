-- By (message_id, consumer_group), the beginning of the one index that holds failed rows; status and seq say that it is
-- still the death of the letter. Deaths by crashing begin a new count.
-- The row is held and found by its time: its lane's owner is beyond its place long since. What the database refused has
-- no content to call a handler with, and stays unfit.
with letter as materialized (
    select d.id, d.message_id, d.consumer_group, d.seq
      from unnest($1::uuid[]) l(id)
           -- By its id alone: with what says that it is open, a planner may walk all open ones for each.
     cross join lateral (select * from mailroom.dead_letter d where d.id = l.id limit 1) d
     where d.origin = 'inbox' and d.replayed_at is null and d.discarded_at is null
     order by d.seq
)
update mailroom.inbox i
   set status = 'pending', held = true, wakes = true, failed_reason = null, attempts_made = 0, crashes = 0,
       begun = false, unfit = case when i.unfit = 'the database refuses its content' then i.unfit end,
       last_error = null, scheduled_at = clock_timestamp(), updated_at = clock_timestamp()
  from letter
 where i.message_id = letter.message_id and i.consumer_group = letter.consumer_group
   and i.seq = letter.seq and i.status = 'failed'
returning letter.id
