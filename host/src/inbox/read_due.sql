-- Rows that wait no longer, by their times, from behind one on.
select i.okey, i.seq, i.scheduled_at
  from mailroom.inbox i
 where i.lane = $1 and i.held and i.wakes and i.scheduled_at <= $5
   and (i.scheduled_at, i.seq) > (coalesce($3::timestamptz, '-infinity'), $4::bigint)
   and exists (select 1 from mailroom.lane where id = $1 and token = $2)
 order by i.scheduled_at, i.seq limit $6
