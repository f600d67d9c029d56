-- Notes what a delivery has to be known by should its host die. The row is pending as it was read; that it is handed over
-- may be noted already, where the answer was lost and nobody was called. A ready row is found by one index, a held one by another: by a range and in order, which that
-- index alone has, since a planner that saw no held row would take any.
update mailroom.inbox i
   set lone = coalesce($5::boolean, i.lone), begun = i.begun or $6::boolean, updated_at = clock_timestamp(),
       -- Whoever ran alone and came back kills nobody.
       crashes = case when not $5::boolean then 0 else i.crashes end
  from (select ready.place
          from (select p.ctid as place from mailroom.inbox p
                 where p.lane = $1 and p.seq = $3 and p.status = 'pending' and not p.held
                   and p.deliveries = $4
                 limit 1 for update) ready
         union all
        select held.place
          from (select p.ctid as place from mailroom.inbox p
                 where p.lane = $1 and p.seq between $3 and $3 and p.held
                   and p.deliveries = $4
                 order by p.seq limit 1 for update) held) found
 where i.ctid = found.place
   and exists (select from mailroom.lane l where l.id = $1 and l.token = $2 for key share)
