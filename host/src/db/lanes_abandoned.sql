-- What a dead owner may have begun counts as delivered and lost: a message that kills its process is found by these.
-- Of ready rows that is each; of held ones the first of each key that does not wait behind a dead letter, unless a
-- ready one of it counts, and those without a key.
-- One that ran alone when its process died goes beyond the bound that others reach; nobody else can have done it,
-- and its next owner ends it in its turn. But a host that is cut off looks dead too: unless its process was started anew
-- meanwhile, such a message waits, so that the host can come again and prove that it lives.
with recursive taken as materialized (
    select l.id, l.started_to, w.session,
           exists (select from mailroom.buried_host b join mailroom.host h on h.worker = b.worker
                    where b.session = w.session) as proven
      from unnest($1::integer[], $3::uuid[]) w(id, session) join mailroom.lane l on l.id = w.id),
ready as materialized (
    select t.id as lane, r.okey, r.place
      from taken t
     cross join lateral (
           select p.okey, p.ctid as place from mailroom.inbox p
            where p.lane = t.id and p.status = 'pending' and not p.held and p.seq <= t.started_to
              and p.scheduled_at <= clock_timestamp()
            order by p.seq for update) r),
-- By leaps over the index by key: whatever a key has behind its first row is not walked.
firsts as (
    select t.id as lane, t.started_to, n.okey, n.seq
      from taken t
     cross join lateral (
           select p.okey, p.seq from mailroom.inbox p
            where p.lane = t.id and p.held and p.okey is not null order by p.okey, p.seq limit 1) n
    union all
    select f.lane, f.started_to, n.okey, n.seq
      from firsts f
     cross join lateral (
           select p.okey, p.seq from mailroom.inbox p
            where p.lane = f.lane and p.held and p.okey > f.okey order by p.okey, p.seq limit 1) n),
lost as (
update mailroom.inbox i
   set deliveries = i.deliveries + 1, lone = false, updated_at = clock_timestamp(),
       held = i.held or (i.lone and not t.proven), wakes = i.wakes or (i.lone and not t.proven),
       scheduled_at = case when i.lone and not t.proven then clock_timestamp() + make_interval(secs => $4)
                           else i.scheduled_at end,
       crashes = case when i.lone then greatest(i.crashes, $2) + 1
                      when i.crashes < $2 then i.crashes + 1
                      else i.crashes end
  from taken t
 where t.id = i.lane and i.ctid = any (array(
       select ready.place from ready
       union all
       select r.place
         from firsts f
        cross join lateral (
              select p.ctid as place from mailroom.inbox p
               where p.lane = f.lane and p.okey = f.okey and p.seq = f.seq and p.held
                 and p.scheduled_at <= clock_timestamp()
               limit 1 for update) r
        where f.seq <= f.started_to
          and not exists (select from mailroom.blocked_key b where b.lane = f.lane and b.okey = f.okey)
          and not exists (select from ready where ready.lane = f.lane and ready.okey = f.okey)
       union all
       select r.place
         from taken t
        cross join lateral (
              -- The statement's time, since an index takes no clock.
              select p.ctid as place from mailroom.inbox p
               where p.lane = t.id and p.held and p.wakes and p.scheduled_at <= statement_timestamp()
                 and p.okey is null and p.seq <= t.started_to
               order by p.scheduled_at, p.seq for update) r))
returning i.lane, i.seq)
insert into mailroom.suspicion (session, lane, seq)
select t.session, lost.lane, lost.seq
  from lost join taken t on t.id = lost.lane join mailroom.buried_host b on b.session = t.session
    on conflict do nothing
