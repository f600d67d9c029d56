-- Counts records that were left out since their group had their id already, and keeps the last hundred of a lane: each
-- takes the place of the one a hundred before it.
with dropped as (
    select d.*, row_number() over (partition by d.lane order by d.place) as nth,
           count(*) over (partition by d.lane) as many
      from unnest(
           $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::integer[], $8::bigint[], $9::bytea[],
           $10::bytea[])
           with ordinality d(lane, message_id, topic, source, event_type, partition, "offset", key, digest, place)),
locked as (
    select l.id, d.many from (select distinct lane, many from dropped) d join mailroom.lane l on l.id = d.lane
     order by l.id for no key update of l),
counted as (
    update mailroom.lane l set duplicates = l.duplicates + k.many, duplicated_at = clock_timestamp()
      from locked k where l.id = k.id
    returning l.id, l.duplicates - k.many as before),
sampled as (
    select d.*, ((c.before + d.nth - 1) % 100)::smallint as slot
      from dropped d join counted c on c.id = d.lane where d.nth > d.many - 100)
insert into mailroom.duplicate as e (
    lane, slot, consumer_group, message_id, topic, source, event_type, partition, "offset", first_partition, first_offset,
    first_stored_at, same_content)
select s.lane, s.slot, $1, s.message_id, s.topic, s.source, s.event_type, s.partition, s."offset", f.partition,
       f."offset", f.created_at, f.key is not distinct from s.key and sha256(f.payload) is not distinct from s.digest
  from sampled s
 cross join lateral (
       select i.partition, i."offset", i.created_at, i.key, i.payload from mailroom.inbox i
        where i.message_id = s.message_id and i.consumer_group = $1 and i.topic = s.topic and i.source = s.source
        limit 1) f
    on conflict (lane, slot) do update set
       consumer_group = excluded.consumer_group, message_id = excluded.message_id, topic = excluded.topic,
       source = excluded.source, event_type = excluded.event_type, partition = excluded.partition,
       "offset" = excluded."offset", first_partition = excluded.first_partition,
       first_offset = excluded.first_offset, first_stored_at = excluded.first_stored_at,
       same_content = excluded.same_content, dropped_at = clock_timestamp()
returning e.message_id, e.topic, e.partition, e."offset", e.first_partition, e.first_offset, e.same_content
