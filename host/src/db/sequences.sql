-- Each sequence that stands below something that is there: the ends of indexes, lane by lane, and of settled rows, which
-- no index holds by their places, the last blocks of their table, where the newest mostly are. What is there in a snapshot
-- was drawn before it, so that a sequence which was never set back is at or above it.
select w.of_table as "of_table!", w.of_column as "of_column!", w.sequence as "sequence!", w.stands_at as "stands_at!",
       w.highest as "highest!"
  from (
       select 'mailroom.inbox' as of_table, 'seq' as of_column, 'mailroom.inbox_seq_seq' as sequence,
              (select case when s.is_called then s.last_value else s.last_value - 1 end
                 from mailroom.inbox_seq_seq s) as stands_at,
              greatest(
                  (select max(l.started_to) from mailroom.lane l where l.kind = 'inbox'),
                  (select max(top.seq) from mailroom.lane l cross join lateral (
                       (select p.seq from mailroom.inbox p
                         where p.lane = l.id and p.status = 'pending' and not p.held order by p.seq desc limit 1)
                       union all
                       (select p.seq from mailroom.inbox p where p.lane = l.id and p.held order by p.seq desc limit 1)
                       union all
                       (select a.seq from mailroom.attempt a where a.lane = l.id order by a.seq desc limit 1)
                       ) top where l.kind = 'inbox'),
                  (select d.seq from mailroom.dead_letter d
                    where d.origin = 'inbox' and d.replayed_at is null and d.discarded_at is null
                    order by d.seq desc limit 1),
                  (select max(p.seq) from mailroom.inbox p
                    where p.ctid >= (select format('(%s,0)', greatest(0, pg_relation_size('mailroom.inbox')
                                                / current_setting('block_size')::bigint - 64))::tid))) as highest
       union all
       select 'mailroom.outbox', 'seq', 'mailroom.outbox_seq_seq',
              (select case when s.is_called then s.last_value else s.last_value - 1 end
                 from mailroom.outbox_seq_seq s),
              greatest(
                  (select max(top.seq) from mailroom.lane l cross join lateral (
                       select p.seq from mailroom.outbox p
                        where p.lane = l.id and p.status = 'pending' and not p.held order by p.seq desc limit 1
                       ) top where l.kind = 'outbox'),
                  (select d.seq from mailroom.dead_letter d
                    where d.origin = 'outbox' and d.replayed_at is null and d.discarded_at is null
                    order by d.seq desc limit 1),
                  (select max(p.seq) from mailroom.outbox p
                    where p.ctid >= (select format('(%s,0)', greatest(0, pg_relation_size('mailroom.outbox')
                                                / current_setting('block_size')::bigint - 64))::tid)))
       union all
       select 'mailroom.lane', 'id', 'mailroom.lane_id_seq',
              (select case when s.is_called then s.last_value else s.last_value - 1 end from mailroom.lane_id_seq s),
              (select max(l.id) from mailroom.lane l)
       ) w
 where w.highest > w.stands_at
