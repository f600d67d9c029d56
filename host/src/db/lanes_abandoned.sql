-- What a dead owner may have begun counts as delivered and lost: a message that kills its process is
-- found by these. One that ran alone when its process died is parked; nobody else can have done it.
with lost as materialized (
    select i.place, i.lone
      from unnest($1::integer[]) w(id) join mailroom.lane l on l.id = w.id
     cross join lateral (
           select p.ctid as place, p.lone from mailroom.inbox p
            where p.lane = l.id and p.status = 'pending' and not p.held and p.seq <= l.started_to
              and p.scheduled_at <= clock_timestamp()
            order by p.seq for update) i),
parked as (
    update mailroom.inbox i
       set status = 'failed', failed_reason = 'crash-loop', lone = false, deliveries = i.deliveries + 1,
           crashes = i.crashes + 1, last_error = 'its process died while it ran alone',
           updated_at = clock_timestamp()
      from lost where lost.lone and i.ctid = lost.place
    returning i.*),
letters as (
    insert into mailroom.dead_letter (
        origin, lane, seq, message, message_id, consumer_group, handler, topic, partition, "offset", key, event_type,
        reason, error, handler_digest, attempts, deliveries)
    select 'inbox', p.lane, p.seq, p.id, p.message_id, p.consumer_group, g.handler, p.topic, p.partition, p."offset",
           p.key, p.event_type, 'crash-loop', p.last_error, p.handler_digest, p.attempts_made, p.deliveries
      from parked p left join mailroom.consumer_group g on g.name = p.consumer_group
        on conflict (origin, seq) where replayed_at is null and discarded_at is null do nothing
    returning id),
counted as (
    update mailroom.inbox i
       set deliveries = i.deliveries + 1, crashes = i.crashes + 1, updated_at = clock_timestamp()
      from lost where not lost.lone and i.ctid = lost.place)
select l.id from letters l
