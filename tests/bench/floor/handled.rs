//! The floor of Kafka → handled: each batch of records becomes rows that are completed already, in one
//! statement that moves the offsets too; the next batch is consumed meanwhile. Two connections write.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use anyhow::{Context as _, Result};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::consumer::Reader;
use crate::ground::Ground;
use crate::payload::PARTITIONS;

const ROWS: usize = 500;

/// Each writes what comes from its own partitions.
const WRITERS: usize = 2;

/// A batch by column.
#[derive(Debug, Default)]
struct Batch {
    ids: Vec<Uuid>,
    message_ids: Vec<String>,
    event_types: Vec<String>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    okeys: Vec<i64>,
    keys: Vec<Vec<u8>>,
    payloads: Vec<Vec<u8>>,
    /// Headers as JSON text, which Postgres reads faster than a tree is built and sent.
    headers: Vec<String>,
    produced_at_ms: Vec<i64>,
    /// Offset at which each partition goes on.
    next: BTreeMap<i32, i64>,
}

/// Handles all records of the ground's topic.
pub(crate) async fn run(ground: &Ground, brokers: &str, messages: u32) -> Result<()> {
    let (brokers, topic) = (brokers.to_owned(), ground.topic.clone());
    let reader = tokio::task::spawn_blocking(move || Reader::connect(&brokers, &topic)).await??;
    let start = "insert into mailroom.partition_offset (consumer_group, topic, partition, next_offset)
                 select $1, $2, p, 0 from generate_series(0, $3 - 1) p";
    let (group, topic) = (ground.group.clone(), ground.topic.clone());
    sqlx::query(start).bind(&group).bind(&topic).bind(PARTITIONS).execute(ground.db.pool()).await?;
    let mut writers = JoinSet::new();
    let mut feeds = Vec::new();
    for _ in 0..WRITERS {
        let (batches, consumed) = mpsc::channel(2);
        let db = PgConnection::connect(&ground.db.url()).await?;
        writers.spawn(write(db, group.clone(), topic.clone(), consumed));
        feeds.push(batches);
    }
    let consuming = tokio::task::spawn_blocking(move || consume(&reader, messages, &feeds));
    while let Some(written) = writers.join_next().await {
        written??;
    }
    consuming.await?
}

fn consume(reader: &Reader, messages: u32, feeds: &[mpsc::Sender<Batch>]) -> Result<()> {
    let mut batches: Vec<Batch> = feeds.iter().map(|_| Batch::default()).collect();
    reader.read(messages, |record| {
        let writer = usize::try_from(record.partition())? % feeds.len();
        let (Some(batch), Some(feed)) = (batches.get_mut(writer), feeds.get(writer)) else { return Ok(()) };
        batch.push(record)?;
        if batch.ids.len() == ROWS {
            feed.blocking_send(std::mem::take(batch))?;
        }
        Ok(())
    })?;
    for (batch, feed) in batches.into_iter().zip(feeds) {
        feed.blocking_send(batch)?;
    }
    Ok(())
}

impl Batch {
    fn push(&mut self, record: &BorrowedMessage<'_>) -> Result<()> {
        let mut headers = String::from("[");
        for header in record.headers().into_iter().flat_map(|headers| headers.iter()) {
            let value = std::str::from_utf8(header.value.unwrap_or_default())?;
            match header.key {
                "message_id" => self.message_ids.push(value.to_owned()),
                "event_type" => self.event_types.push(value.to_owned()),
                _ => {}
            }
            let separator = if headers.len() > 1 { "," } else { "" };
            // The benchmark's own headers have nothing to escape.
            write!(headers, "{separator}[\"{}\",\"{value}\"]", header.key)?;
        }
        headers.push(']');
        let key = record.key().context("a record without a key")?;
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((record.partition(), key));
        self.ids.push(Uuid::now_v7());
        self.partitions.push(record.partition());
        self.offsets.push(record.offset());
        self.okeys.push(hash.cast_signed());
        self.keys.push(key.to_vec());
        self.payloads.push(record.payload().unwrap_or_default().to_vec());
        self.headers.push(headers);
        self.produced_at_ms.push(record.timestamp().to_millis().unwrap_or_default());
        self.next.insert(record.partition(), record.offset() + 1);
        Ok(())
    }
}

async fn write(
    mut db: PgConnection,
    group: String,
    topic: String,
    mut batches: mpsc::Receiver<Batch>,
) -> Result<()> {
    let statement = r#"
        with moved as (
            update mailroom.partition_offset o set next_offset = w.next, updated_at = clock_timestamp()
              from unnest($3::integer[], $4::bigint[]) w(partition, next)
             where o.consumer_group = $1 and o.topic = $2 and o.partition = w.partition)
        insert into mailroom.inbox (
            consumer_group, topic, lane, okey, id, message_id, partition, "offset", source, event_type, key, payload,
            headers, produced_at_ms, status, outcome, deliveries, completed_at)
        select $1, $2, 64 + r.partition, r.okey, r.id, r.message_id, r.partition, r."offset", $2, r.event_type, r.key,
               r.payload, r.headers::jsonb, r.produced_at_ms, 'completed', 'completed', 1, clock_timestamp()
          from unnest($5::uuid[], $6::text[], $7::text[], $8::integer[], $9::bigint[], $10::bigint[], $11::bytea[],
                      $12::bytea[], $13::text[], $14::bigint[])
               r(id, message_id, event_type, partition, "offset", okey, key, payload, headers, produced_at_ms)
            on conflict (message_id, consumer_group, topic, source) do nothing"#;
    while let Some(batch) = batches.recv().await {
        let (partitions, next): (Vec<i32>, Vec<i64>) = batch.next.into_iter().unzip();
        sqlx::query(statement)
            .bind(&group)
            .bind(&topic)
            .bind(partitions)
            .bind(next)
            .bind(batch.ids)
            .bind(batch.message_ids)
            .bind(batch.event_types)
            .bind(batch.partitions)
            .bind(batch.offsets)
            .bind(batch.okeys)
            .bind(batch.keys)
            .bind(batch.payloads)
            .bind(batch.headers)
            .bind(batch.produced_at_ms)
            .execute(&mut db)
            .await?;
    }
    Ok(())
}
