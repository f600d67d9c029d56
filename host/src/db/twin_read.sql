-- All tables that the simulator has a model of, with times in microseconds since 1970.
with micros as (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now)
select jsonb_build_object(
    'now', (select now from micros),
    'hosts', (select coalesce(jsonb_agg(jsonb_build_array(
                         id, worker, (extract(epoch from expires_at) * 1000000)::bigint)), '[]') from mailroom.host),
    'lanes', (select coalesce(jsonb_agg(jsonb_build_object(
                         'id', id, 'topic', topic, 'partition', partition, 'owner', owner, 'token', token,
                         'wanted_by', wanted_by, 'free_since', (extract(epoch from free_since) * 1000000)::bigint,
                         'started_to', started_to, 'reread', reread)), '[]')
                from mailroom.lane where kind = 'inbox'),
    'offsets', (select coalesce(jsonb_agg(jsonb_build_array(topic, partition, next_offset, epoch)), '[]')
                  from mailroom.partition_offset),
    'inbox', (select coalesce(jsonb_agg(jsonb_build_object(
                         'seq', seq, 'lane', lane, 'okey', okey, 'message_id', message_id, 'status', status,
                         'failed_reason', failed_reason, 'held', held, 'wakes', wakes, 'deliveries', deliveries,
                         'attempts_made', attempts_made, 'max_attempts', max_attempts, 'crashes', crashes,
                         'begun', begun, 'lone', lone, 'unfit', unfit,
                         'scheduled_at', (extract(epoch from scheduled_at) * 1000000)::bigint)), '[]')
                from mailroom.inbox),
    'letters', (select coalesce(jsonb_agg(jsonb_build_array(
                           d.seq, d.replayed_at is null and d.discarded_at is null, d.reason)), '[]')
                  from mailroom.dead_letter d
                 where not exists (select from mailroom.dead_letter n
                                    where n.origin = d.origin and n.seq = d.seq and n.died_at > d.died_at)),
    'blocked', (select coalesce(jsonb_agg(jsonb_build_array(lane, okey, seq, policy)), '[]') from mailroom.blocked_key),
    'state', (select coalesce(jsonb_agg(jsonb_build_array(
                         scope, encode(key, 'hex'), name, version, convert_from(value, 'UTF8'))), '[]')
                from mailroom.state),
    'outbox', (select coalesce(jsonb_agg(jsonb_build_array(id, convert_from(payload, 'UTF8'))), '[]')
                 from mailroom.outbox),
    'suspicions', (select coalesce(jsonb_agg(jsonb_build_array(session, seq)), '[]') from mailroom.suspicion),
    'paused', exists (select from mailroom.handler_pause),
    'breaker', (select (extract(epoch from paused_until) * 1000000)::bigint from mailroom.breaker))::text
