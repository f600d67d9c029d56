-- The dead letter behind which a key waits.
select b.policy, b.blocked_at, d.id as letter, d.message
  from mailroom.blocked_key b
  left join mailroom.dead_letter d on d.origin = 'inbox' and d.seq = b.seq and d.lane = b.lane
       and d.replayed_at is null and d.discarded_at is null
 where b.lane = $1 and b.okey = $2
