-- Sequences that stand behind rows which are there. No index has all rows by `seq`: the newest lie in the last blocks of
-- their table, and pending ones are found by their lanes.
with highest (sequence, seq) as (
    select 'inbox_seq_seq', greatest(
               (select max(i.seq) from mailroom.inbox i
                 where i.ctid >= format('(%s,0)', greatest(0, pg_relation_size('mailroom.inbox') / 8192 - 1000))::tid),
               (select max(d.seq) from mailroom.dead_letter d
                 where d.origin = 'inbox' and d.replayed_at is null and d.discarded_at is null),
               (select max(greatest(ready.seq, held.seq)) from mailroom.lane l
                  left join lateral (
                       select p.seq from mailroom.inbox p where p.lane = l.id and p.status = 'pending' and not p.held
                        order by p.seq desc limit 1) ready on true
                  left join lateral (
                       select p.seq from mailroom.inbox p where p.lane = l.id and p.held
                        order by p.seq desc limit 1) held on true
                 where l.kind = 'inbox'))
    union all
    select 'outbox_seq_seq', greatest(
               (select max(o.seq) from mailroom.outbox o
                 where o.ctid >= format('(%s,0)', greatest(0, pg_relation_size('mailroom.outbox') / 8192 - 1000))::tid),
               (select max(ready.seq) from mailroom.lane l
                 cross join lateral (
                       select p.seq from mailroom.outbox p where p.lane = l.id and p.status = 'pending' and not p.held
                        order by p.seq desc limit 1) ready
                 where l.kind = 'outbox'))
    union all
    select 'lane_id_seq', (select max(l.id)::bigint from mailroom.lane l where l.kind = 'inbox')
)
select 'sequence-behind' as code,
       format('mailroom.%s stands at %s, and there are rows up to %s', h.sequence, coalesce(s.last_value, 0), h.seq) as what,
       format('select setval(''mailroom.%s'', %s)', h.sequence, h.seq) as remedy
  from highest h join pg_sequences s on s.schemaname = 'mailroom' and s.sequencename = h.sequence
 where h.seq > coalesce(s.last_value, 0)
   -- Of one that we may not look at no value is told.
   and has_sequence_privilege(format('mailroom.%I', h.sequence), 'select, usage')
