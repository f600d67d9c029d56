-- What a dead owner may have begun counts as delivered and lost: a message that kills its process is found by these.
-- One that ran alone when its process died goes beyond the bound that others reach; nobody else can have done it,
-- and its next owner ends it in its turn.
update mailroom.inbox i
   set deliveries = i.deliveries + 1, lone = false, updated_at = clock_timestamp(),
       crashes = case when i.lone then greatest(i.crashes, $2) + 1
                      when i.crashes < $2 then i.crashes + 1
                      else i.crashes end
  from (select r.place
          from unnest($1::integer[]) w(id) join mailroom.lane l on l.id = w.id
         cross join lateral (
               select p.ctid as place from mailroom.inbox p
                where p.lane = l.id and p.status = 'pending' and not p.held and p.seq <= l.started_to
                  and p.scheduled_at <= clock_timestamp()
                order by p.seq for update) r) lost
 where i.ctid = lost.place
