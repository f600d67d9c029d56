-- A buried host lives: its suspicions go, and the counts with them. Of a message that is blamed already the letter is
-- given, to be replayed; its suspicion stays until it is.
with suspected as materialized (
    select s.lane, s.seq, d.id as letter
      from mailroom.suspicion s
      left join mailroom.dead_letter d
        on d.origin = 'inbox' and d.seq = s.seq and d.lane = s.lane and d.reason = 'crash-loop'
       and d.replayed_at is null and d.discarded_at is null
     where s.session = $1),
withdrawn as (
    delete from mailroom.suspicion s
     using suspected w
     where s.session = $1 and s.lane = w.lane and s.seq = w.seq and w.letter is null
    returning s.lane, s.seq),
found as materialized (
    select r.place
      from withdrawn w
     cross join lateral (
           (select p.ctid as place from mailroom.inbox p
             where p.lane = w.lane and p.seq = w.seq and p.status = 'pending' and not p.held limit 1)
           union all
           (select p.ctid from mailroom.inbox p
             where p.lane = w.lane and p.seq between w.seq and w.seq and p.held order by p.seq limit 1)) r),
cleared as (
    update mailroom.inbox i
       set crashes = least(i.crashes, 3) - 1, updated_at = clock_timestamp(),
           -- One that was to be blamed had to wait for its host.
           scheduled_at = case when i.crashes > 2 then clock_timestamp() else i.scheduled_at end
      from found
     where i.ctid = found.place and i.crashes > 0)
select lane as "lane!", seq as "seq!", letter as "letter?" from suspected
