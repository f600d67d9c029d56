//! Reads the evidence from a world's tables and topics.

use anyhow::Result;
use serde_json::Value;

use super::{Emitted, Handled, Published, Row};
use crate::{Kafka, World, db::Db};

/// The whole inbox.
///
/// # Errors
/// Postgres' own.
pub async fn handled(db: &Db) -> Result<Vec<Handled>> {
    // What loops until its deadline burns hundreds of millions.
    let rows: Vec<(String, String, i32, i64)> =
        db.rows(
            "select message_id, status || coalesce(': ' || failed_reason || coalesce(', ' || last_error, ''), ''),
                    attempts_made,
                    (select count(*) from mailroom.attempt a
                      where a.lane = i.lane and a.seq = i.seq and a.fault = 'deadline' and a.fuel_used < 10000000)
               from mailroom.inbox i order by seq",
        )
        .await?;
    let handled = rows.into_iter().map(|(id, status, attempts_made, starved)| Handled {
        id,
        status,
        attempts_made: attempts_made.into(),
        starved,
    });
    Ok(handled.collect())
}

/// The whole outbox.
///
/// # Errors
/// Postgres' own, and where a payload is not JSON.
pub async fn rows(db: &Db) -> Result<Vec<Row>> {
    type Columns = (i64, String, String, String, String, Option<String>, String);
    let rows: Vec<Columns> = db
        .rows(
            "select seq, id::text, topic, convert_from(key, 'UTF8'), status, causation_id,
                    convert_from(payload, 'UTF8')
               from mailroom.outbox order by seq",
        )
        .await?;
    let rows = rows.into_iter().map(|(seq, id, topic, key, status, cause, payload)| {
        let said: Value = serde_json::from_str(&payload)?;
        let number = |name: &str| said.get(name).and_then(Value::as_i64).unwrap_or(-1);
        let emitted = cause.map(|cause| Emitted {
            cause,
            attempt: number("attempt"),
            value: number("value"),
            sum: number("sum"),
        });
        Ok(Row { seq, id, topic, key, status, emitted })
    });
    rows.collect()
}

/// All records of a topic.
///
/// # Errors
/// Where the topic cannot be read.
pub async fn published(kafka: &Kafka, topic: &str) -> Result<Vec<Published>> {
    let records = kafka.read_all(topic).await?;
    let published = records
        .iter()
        .map(|record| Ok(Published { id: record.id()?, topic: topic.to_owned(), key: record.key_text() }));
    published.collect()
}

/// Key and sum of the keyed state of a world's only handler.
///
/// # Errors
/// Postgres' own.
pub async fn sums(world: &World) -> Result<Vec<(String, i64)>> {
    world
        .db
        .rows(
            "select convert_from(key, 'UTF8'), convert_from(value, 'UTF8')::bigint
               from mailroom.state where scope = 'keyed' and name = 'sum'",
        )
        .await
}
