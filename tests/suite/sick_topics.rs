//! Topics that take nothing for a while: they are named, and cost no other topic more than a moment.

use std::time::Duration;

use anyhow::{Context as _, Result};
use mailroom_tests::kafka::record::{ensure_rising_per_key, first_occurrences};
use mailroom_tests::{Keep, LATER, Request, SOON, Setup, World, becomes, in_world_with_kafka_proxy};
use tokio::time::Instant;

use crate::arrange::waits;

/// More than a relay has in hand.
const MANY: i32 = 10_000;

async fn fill(world: &World, topic: &str, rows: i32) -> Result<()> {
    let insert = "insert into mailroom.outbox (topic, key, event_type, payload)
                  select $1, convert_to('k' || n % 100, 'UTF8'), 't',
                         convert_to(json_build_object('value', n)::text, 'UTF8')
                    from generate_series(1, $2) n";
    sqlx::query(insert).bind(topic).bind(rows).execute(world.db.pool()).await?;
    Ok(())
}

async fn completed(world: &World, topic: &str) -> Result<i64> {
    let count = "select count(*) from mailroom.outbox where topic = $1 and status = 'completed'";
    Ok(sqlx::query_scalar(count).bind(topic).fetch_one(world.db.pool()).await?)
}

/// Publishes row by row for this long, each once the one before is out; gives how long the slowest took.
async fn slowest_of_rows_beside(world: &World, topic: &str, time: Duration) -> Result<Duration> {
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    while began.elapsed() < time {
        let (sent, before) = (Instant::now(), completed(world, topic).await?);
        let publish = "select mailroom.publish($1, 'k', 't', '{\"a\": 1}')";
        sqlx::query(publish).bind(topic).execute(world.db.pool()).await?;
        becomes("it is out", before + 1, SOON, async || completed(world, topic).await).await?;
        slowest = slowest.max(sent.elapsed());
    }
    Ok(slowest)
}

#[test]
fn a_topic_under_its_least_replicas_is_named_and_others_are_published_beside_it() {
    in_world_with_kafka_proxy(Setup::default(), async |world| {
        let sick = world.kafka.topic("sick", 1).await?;
        let broker = world.kafka_proxy.as_ref().context("the world has a proxy")?;
        broker.freeze(Request::ProduceTo(".sick"), Keep::UnderReplicated);
        let well = world.kafka.topic("well", 1).await?;
        let host = world.start_host("a")?;
        fill(world, &well, 1).await?;
        becomes("the relay works", 1, SOON, async || completed(world, &well).await).await?;
        fill(world, &sick, MANY).await?;

        // Several publish timeouts.
        let slowest = slowest_of_rows_beside(world, &well, Duration::from_secs(12)).await?;

        assert!(slowest < Duration::from_secs(3), "a row of another topic took {slowest:?}");
        host.wait_log(&sick).await?;
        assert_eq!(completed(world, &sick).await?, 0);
        let named = format!("topic {sick}, to publish there");
        assert_eq!(waits(world).await?, std::slice::from_ref(&named), "status names it");
        broker.release();
        becomes("it is published too", i64::from(MANY), LATER, async || completed(world, &sick).await)
            .await?;
        let records = world.kafka.read_all(&sick).await?;
        let first = first_occurrences(&records)?;
        assert_eq!(i32::try_from(first.len())?, MANY);
        ensure_rising_per_key(&first, "value")?;
        becomes("status names it no more", vec![], SOON, async || waits(world).await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_host_stops_soon_though_a_topic_takes_nothing() {
    in_world_with_kafka_proxy(Setup::default(), async |world| {
        let sick = world.kafka.topic("sick", 1).await?;
        let broker = world.kafka_proxy.as_ref().context("the world has a proxy")?;
        broker.freeze(Request::ProduceTo(".sick"), Keep::UnderReplicated);
        let host = world.start_host("a")?;
        fill(world, &sick, 100).await?;
        host.wait_log("nothing was acknowledged").await?;

        let began = Instant::now();
        host.stop().await?;

        assert!(began.elapsed() < Duration::from_secs(6), "it took {:?} of a grace of 10 s", began.elapsed());
        Ok(())
    });
}
