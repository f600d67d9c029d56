//! Latency at 50 messages a second, by the clocks of Postgres and of the broker, which are one machine's.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::Message as _;
use tokio::time::interval;

use crate::figure::{Delays, Figure, Measured};
use crate::floor::consumer::Reader;
use crate::ground::{Ground, Handler};
use crate::handled::message;
use crate::payload::{EVENT_TYPE, key, payload};
use crate::relay::PENDING;
use crate::stage::Stage;

/// Twenty seconds of each.
const MESSAGES: u32 = 1_000;

/// Count of those that are not handled.
const UNHANDLED: &str = "select 1000 - count(*) from mailroom.inbox where status = 'completed'";

/// Delays that are aimed at, for half of them and for nearly all.
const AIM: &str = "≤ 5 ms, ≤ 25 ms";

/// Pause between two messages: 50 a second.
const PACE: Duration = Duration::from_millis(20);

/// The broker's time is a whole millisecond, the one that was begun.
const BROKER_TICK_MS: f64 = 1.0;

/// Time when each record was appended, in milliseconds since 1970, by partition and offset.
type Appended = HashMap<(i32, i64), f64>;

/// Both directions, one after the other.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Figure>> {
    let ground = Ground::new(stage, "latency", Handler::Component).await?;
    let mut host = ground.host_up().await?;
    insert_one_by_one(&ground).await?;
    ground.until_none(&mut host, PENDING).await?;
    let outward = outward_ms(&ground, stage.brokers()).await?;

    send_one_by_one(&ground, MESSAGES, PACE).await?;
    ground.until_none(&mut host, UNHANDLED).await?;
    let inward = inward_ms(&ground, stage.brokers(), MESSAGES).await?;
    host.stop().await?;
    ground.remove().await?;
    let figure = |of, delays| {
        Ok(Figure { of, is: Measured::Delays(Delays::of(delays).context("no message was measured")?, AIM) })
    };
    [figure("commit → Kafka at 50/s", outward), figure("Kafka → committed effect at 50/s", inward)]
        .into_iter()
        .collect()
}

async fn insert_one_by_one(ground: &Ground) -> Result<()> {
    let payload = payload();
    let mut pace = interval(PACE);
    for number in 0..MESSAGES {
        pace.tick().await;
        let insert = "insert into mailroom.outbox (topic, key, event_type, payload) values ($1, $2, $3, $4)";
        let insert = sqlx::query(insert).bind(&ground.out).bind(key(number).into_bytes());
        insert.bind(EVENT_TYPE).bind(&payload).execute(ground.db.pool()).await?;
    }
    Ok(())
}

/// Measures the delays from the insert, which the commit follows at once, to the broker's log.
async fn outward_ms(ground: &Ground, brokers: &str) -> Result<Vec<f64>> {
    let appended = appended(brokers, &ground.out, MESSAGES).await?;
    let rows = "select published_partition, published_offset,
                       extract(epoch from created_at)::double precision * 1000 from mailroom.outbox";
    let rows: Vec<(i32, i64, f64)> = ground.db.rows(rows).await?;
    let delay = |(partition, offset, inserted): (i32, i64, f64)| {
        let appended = appended.get(&(partition, offset)).context("a row's record is not in the log")?;
        Ok(appended + BROKER_TICK_MS - inserted)
    };
    rows.into_iter().map(delay).collect()
}

/// Sends what the handler takes, a message at each tick.
pub(crate) async fn send_one_by_one(ground: &Ground, messages: u32, pace: Duration) -> Result<()> {
    let payload = payload();
    let mut pace = interval(pace);
    for number in 0..messages {
        pace.tick().await;
        ground.kafka.send(&message(&ground.topic, number, &payload)).await?;
    }
    Ok(())
}

/// Measures the delays from the broker's log to the row's last write, which the commit follows at once.
pub(crate) async fn inward_ms(ground: &Ground, brokers: &str, messages: u32) -> Result<Vec<f64>> {
    let appended = appended(brokers, &ground.topic, messages).await?;
    let rows = r#"select partition, "offset", extract(epoch from completed_at)::double precision * 1000
                    from mailroom.inbox where topic = $1"#;
    let rows = sqlx::query_as(rows).bind(&ground.topic).fetch_all(ground.db.pool());
    let rows: Vec<(i32, i64, f64)> = rows.await?;
    let delay = |(partition, offset, completed): (i32, i64, f64)| {
        let appended = appended.get(&(partition, offset)).context("a row's record is not in the log")?;
        Ok(completed - appended)
    };
    rows.into_iter().map(delay).collect()
}

async fn appended(brokers: &str, topic: &str, messages: u32) -> Result<Appended> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || {
        let mut found = Appended::new();
        Reader::connect(&brokers, &topic)?.read(messages, |record| {
            let at_ms = record.timestamp().to_millis().context("a record has no time")?;
            // Milliseconds since 1970 are exact in it for longer than anyone will measure.
            found.insert((record.partition(), record.offset()), at_ms as f64);
            Ok(())
        })?;
        Ok(found)
    })
    .await?
}
