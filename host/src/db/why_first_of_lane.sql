-- The first pending row of a lane, whichever of the two tables it is of.
select fields, key
  from ((select i.seq, to_jsonb(i) - array['key', 'payload', 'headers'] as fields, i.key
           from mailroom.inbox i where i.lane = $1 and i.status = 'pending' and not i.held order by i.seq limit 1)
        union all
        (select i.seq, to_jsonb(i) - array['key', 'payload', 'headers'], i.key
           from mailroom.inbox i where i.lane = $1 and i.held order by i.seq limit 1)
        union all
        (select o.seq, to_jsonb(o) - array['key', 'payload', 'headers'], o.key
           from mailroom.outbox o where o.lane = $1 and o.status = 'pending' and not o.held order by o.seq limit 1)) first
 order by seq limit 1
