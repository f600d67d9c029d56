-- Rows of its lane that come before one; counted up to 10,000.
select count(*)
  from ((select from mailroom.inbox i
          where $1 and i.lane = $2 and i.status = 'pending' and not i.held and i.seq < $3 order by i.seq limit 10000)
        union all
        (select from mailroom.outbox o
          where not $1 and o.lane = $2 and o.status = 'pending' and not o.held and o.seq < $3 order by o.seq limit 10000)
       ) before
