//! Tables with a long past: a million rows that are done, a thousand dead among them, and what is then
//! made of them. Nothing tidies up or counts by itself meanwhile.

use anyhow::Result;
use mailroom_tests::World;
use sqlx::raw_sql;

/// Twelve lanes of one group, with the ids from 64 on.
const LANES: &str = "
    alter table mailroom.inbox set (autovacuum_enabled = off);
    alter table mailroom.outbox set (autovacuum_enabled = off);
    alter table mailroom.dead_letter set (autovacuum_enabled = off);
    alter table mailroom.attempt set (autovacuum_enabled = off);
    insert into mailroom.lane (kind, consumer_group, topic, partition)
    select 'inbox', 'g', 't', n from generate_series(0, 11) n;";

const SETTLED: &str = "
    insert into mailroom.inbox (
        lane, okey, id, message_id, consumer_group, topic, partition, \"offset\", source, event_type, key, payload,
        produced_at_ms, status, outcome, failed_reason, completed_at, deliveries)
    select 64 + n % 12, n % 1000, gen_random_uuid(), 'm' || n, 'g', 't', n % 12, n, 's', 'e', int4send(n % 1000),
           '{}', 0, d.status, case when not dead then 'completed' end, case when dead then 'rejected' end,
           case when not dead then clock_timestamp() end, 1
      from generate_series(1, 1000000) n
     cross join lateral (select n % 1000 = 0) x(dead)
     cross join lateral (select case when dead then 'failed' else 'completed' end) d(status);
    insert into mailroom.outbox (id, topic, key, event_type, payload, status, failed_reason, completed_at, deliveries)
    select gen_random_uuid(), 't', int4send(n % 1000), 'e', '{}', d.status, case when dead then 'rejected' end,
           case when not dead then clock_timestamp() end, 1
      from generate_series(1, 1000000) n
     cross join lateral (select n % 1000 = 0) x(dead)
     cross join lateral (select case when dead then 'failed' else 'completed' end) d(status);
    insert into mailroom.dead_letter (
        origin, lane, seq, message, message_id, consumer_group, topic, event_type, reason, error, attempts, deliveries)
    select 'inbox', lane, seq, id, message_id, consumer_group, topic, event_type, failed_reason, 'no', 1, 1
      from mailroom.inbox where status = 'failed'
     union all
    select 'outbox', lane, seq, id, id::text, null, topic, event_type, failed_reason, 'no', 1, 1
      from mailroom.outbox where status = 'failed';
    insert into mailroom.attempt (
        lane, seq, delivery, attempt, host, handler_digest, error, fuel_used, memory_peak, took_ms)
    select lane, seq, d, d, 'a', '', 'no', 0, 0, 0
      from mailroom.inbox cross join generate_series(1, 3) d where seq % 20 = 0;";

const PENDING: &str = "
    insert into mailroom.inbox (
        lane, okey, id, message_id, consumer_group, topic, partition, \"offset\", source, event_type, key, payload,
        produced_at_ms)
    select 64 + n % 12, n % 1000, gen_random_uuid(), 'p' || n, 'g', 't', n % 12, n, 's', 'e', int4send(n % 1000), '{}', 0
      from generate_series(1, 50000) n;
    insert into mailroom.inbox (
        lane, okey, id, message_id, consumer_group, topic, partition, \"offset\", source, event_type, key, payload,
        produced_at_ms, held)
    select 64, n % 10, gen_random_uuid(), 'h' || n, 'g', 't', 0, n, 's', 'e', int4send(n % 10), '{}', 0, true
      from generate_series(1, 50000) n;
    insert into mailroom.inbox (
        lane, id, message_id, consumer_group, topic, partition, \"offset\", source, event_type, payload,
        produced_at_ms, held, wakes, scheduled_at)
    select 64, gen_random_uuid(), 'w' || n, 'g', 't', 0, n, 's', 'e', '{}', 0, true, true,
           clock_timestamp() + (n - 40000) * interval '1 second'
      from generate_series(1, 50000) n;
    insert into mailroom.outbox (id, topic, key, event_type, payload)
    select gen_random_uuid(), 't', int4send(n % 1000), 'e', '{}' from generate_series(1, 50000) n;";

/// Statements that leave the tables as if nobody had ever counted: what a restored database or a new major
/// version begins with.
const UNCOUNTED: &str = "
    delete from pg_statistic where starelid in ('mailroom.inbox'::regclass, 'mailroom.outbox'::regclass);
    update pg_class set reltuples = -1, relpages = 0
     where oid in ('mailroom.inbox'::regclass, 'mailroom.outbox'::regclass);
    -- Sessions forget what they keep of a table where its definition changes, and only then.
    comment on table mailroom.inbox is null;
    comment on table mailroom.outbox is null;";

/// The lanes, with nothing in them.
pub(crate) async fn lanes(world: &World) -> Result<()> {
    raw_sql(LANES).execute(world.db.pool()).await?;
    Ok(())
}

/// A million rows in each table of messages, all of them settled, some after failed attempts; never counted.
pub(crate) async fn a_million_settled(world: &World) -> Result<()> {
    lanes(world).await?;
    raw_sql(SETTLED).execute(world.db.pool()).await?;
    Ok(())
}

/// Fifty thousand more in each, all of them pending, and as many in the inbox that are held.
pub(crate) async fn fifty_thousand_pending(world: &World) -> Result<()> {
    raw_sql(PENDING).execute(world.db.pool()).await?;
    Ok(())
}

/// Takes the statistics away.
pub(crate) async fn forget_statistics(world: &World) -> Result<()> {
    raw_sql(UNCOUNTED).execute(world.db.pool()).await?;
    Ok(())
}

/// Counts what is there now.
pub(crate) async fn analyze(world: &World) -> Result<()> {
    raw_sql("analyze mailroom.inbox, mailroom.outbox, mailroom.dead_letter, mailroom.attempt")
        .execute(world.db.pool())
        .await?;
    Ok(())
}

/// More rows for the first lane, all of them pending.
pub(crate) async fn ten_thousand_in_one_lane(world: &World, batch: i32) -> Result<()> {
    let rows = "
        insert into mailroom.inbox (
            lane, okey, id, message_id, consumer_group, topic, partition, \"offset\", source, event_type, key, payload,
            produced_at_ms)
        select 64, n % 1000, gen_random_uuid(), $1 || '.' || n, 'g', 't', 0, n, 's', 'e', int4send(n % 1000), '{}', 0
          from generate_series(1, 10000) n";
    sqlx::query(rows).bind(batch.to_string()).execute(world.db.pool()).await?;
    Ok(())
}

/// Ends whatever is pending.
pub(crate) async fn settle_all(world: &World) -> Result<()> {
    let settle = "update mailroom.inbox
                     set status = 'completed', outcome = 'completed', completed_at = clock_timestamp(), deliveries = 1
                   where status = 'pending' and not held";
    world.db.execute(settle).await?;
    Ok(())
}

/// Ten thousand more rows for the relay.
pub(crate) async fn ten_thousand_to_publish(world: &World) -> Result<()> {
    let rows = "insert into mailroom.outbox (topic, key, event_type, payload)
                select 't', int4send(n % 1000), 'e', '{}' from generate_series(1, 10000) n";
    world.db.execute(rows).await?;
    Ok(())
}

/// Marks whatever is to be published.
pub(crate) async fn publish_all(world: &World) -> Result<()> {
    let mark =
        "update mailroom.outbox set status = 'completed', completed_at = clock_timestamp(), deliveries = 1
                 where status = 'pending' and not held";
    world.db.execute(mark).await?;
    Ok(())
}
