select l.id, l.kind, l.consumer_group, l.topic, l.partition, h.worker as "worker?", l.token, l.owned_since,
       -- A host that is dead and not buried had it until its expiry.
       case when h.expires_at > clock_timestamp() then null else coalesce(h.expires_at, l.free_since) end as "free_since?",
       extract(epoch from clock_timestamp() - case
           when h.expires_at > clock_timestamp() then l.owned_since else coalesce(h.expires_at, l.free_since) end
       )::float8 as "since_secs?",
       coalesce(h.expires_at > clock_timestamp(), false) as "alive!", l.started_to, l.reread,
       l.doubts, l.doubted_at, extract(epoch from clock_timestamp() - l.doubted_at)::float8 as "doubted_secs?",
       l.duplicates, l.duplicated_at
  from mailroom.lane l left join mailroom.host h on h.id = l.owner
 order by l.consumer_group nulls last, l.topic, l.partition, l.id
