//! One poll's records become rows, and the offset moves with them, in one transaction.
//!
//! The order inside is: the lanes with their tokens, the offset rows with their epochs, the rows. A
//! host that lost any of them stores nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use sqlx::{Postgres, Transaction};

use crate::db::{Db, DbError};
use crate::lane::Lease;
use crate::message::{Message, headers_to_json};
use crate::settle::DeadLetter;

/// What one poll brought for one handler.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) group: Arc<str>,
    pub(crate) handler: Arc<str>,
    pub(crate) attempts_max: u32,
    /// The Kafka topic that gets copies of dead letters.
    pub(crate) dead_letters: Option<Arc<str>>,
    pub(crate) leases: Vec<Lease>,
    /// Lanes whose fresh messages go straight to the worker.
    pub(crate) direct: HashSet<i32>,
    pub(crate) advances: Vec<Advance>,
    pub(crate) rows: Vec<NewRow>,
}

/// How far a partition was read.
#[derive(Debug, Clone)]
pub(crate) struct Advance {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) epoch: i64,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// A message that has no `seq` yet.
#[derive(Debug)]
pub(crate) struct NewRow {
    pub(crate) message: Message,
    /// Why it cannot be handled: it is kept as failed, and nobody is called for it.
    pub(crate) quarantined: Option<String>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Stored {
    /// Committed: the fresh messages in the order of their `seq`, and how many the group had already.
    Done { fresh: Vec<Message>, duplicates: usize },
    /// A lane is another's, or an offset row moved without us: nothing was stored.
    Refused,
}

/// Stores a batch, all of it or nothing.
pub(crate) async fn store(db: &Db, mut batch: Batch) -> Result<Stored, DbError> {
    let mut tx = db.pool().begin().await.map_err(DbError::new("storing records"))?;
    let ours = fence(&mut tx, &batch.leases).await?;
    if ours.len() < batch.leases.len() || !advance(&mut tx, &batch).await? {
        return Ok(Stored::Refused);
    }
    // What an operator touched goes before what is stored now.
    for (lease, reread) in batch.leases.iter().filter_map(|lease| Some((lease, ours.get(&lease.lane)?))) {
        lease.saw_reread(*reread);
    }
    let offered = batch.rows.len();
    let places = insert(&mut tx, &batch).await?;
    let mut fresh = Vec::with_capacity(places.len());
    let mut dead = Vec::new();
    for mut row in batch.rows.drain(..) {
        let Some(seq) = places.get(&(row.message.lane, row.message.offset)) else { continue };
        row.message.seq = *seq;
        match row.quarantined {
            None => fresh.push(row.message),
            Some(reason) => dead.push(DeadLetter::quarantined(&batch.handler, &row.message, reason)),
        }
    }
    crate::settle::write_dead_letters(&mut tx, &dead, batch.dead_letters.as_deref()).await?;
    begin(&mut tx, fresh.iter().filter(|message| batch.direct.contains(&message.lane))).await?;
    tx.commit().await.map_err(DbError::new("storing records"))?;
    Ok(Stored::Done { duplicates: offered - places.len(), fresh })
}

/// Those of the lanes that are ours, and stay so until the end of the transaction, with their reread
/// counters.
async fn fence(tx: &mut Transaction<'_, Postgres>, leases: &[Lease]) -> Result<HashMap<i32, i64>, DbError> {
    let lanes: Vec<i32> = leases.iter().map(|lease| lease.lane).collect();
    let tokens: Vec<i64> = leases.iter().map(|lease| lease.token).collect();
    let ours = sqlx::query!(
        "select l.id, l.reread from unnest($1::integer[], $2::bigint[]) w(id, token)
           join mailroom.lane l on l.id = w.id and l.token = w.token
          order by l.id for key share of l",
        &lanes,
        &tokens,
    );
    let ours = ours.fetch_all(&mut **tx).await.map_err(DbError::new("fencing lanes"))?;
    Ok(ours.into_iter().map(|lane| (lane.id, lane.reread)).collect())
}

async fn advance(tx: &mut Transaction<'_, Postgres>, batch: &Batch) -> Result<bool, DbError> {
    let advances = &batch.advances;
    let topics: Vec<String> = advances.iter().map(|advance| advance.topic.to_string()).collect();
    let partitions: Vec<i32> = advances.iter().map(|advance| advance.partition).collect();
    let epochs: Vec<i64> = advances.iter().map(|advance| advance.epoch).collect();
    let from: Vec<i64> = advances.iter().map(|advance| advance.from).collect();
    let to: Vec<i64> = advances.iter().map(|advance| advance.to).collect();
    let moved = sqlx::query!(
        "update mailroom.partition_offset o set next_offset = w.next, updated_at = clock_timestamp()
           from unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[])
                w(topic, partition, epoch, expected, next)
          where o.consumer_group = $1 and o.topic = w.topic and o.partition = w.partition
            and o.epoch = w.epoch and o.next_offset = w.expected",
        &*batch.group,
        &topics,
        &partitions,
        &epochs,
        &from,
        &to,
    );
    let moved = moved.execute(&mut **tx).await.map_err(DbError::new("advancing offsets"))?;
    Ok(moved.rows_affected() == u64::try_from(advances.len()).unwrap_or(u64::MAX))
}

async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    batch: &Batch,
) -> Result<HashMap<(i32, i64), i64>, DbError> {
    if batch.rows.is_empty() {
        return Ok(HashMap::new());
    }
    let of = Columns(&batch.rows);
    let rows = sqlx::query_file!(
        "src/inbox/store.sql",
        &*batch.group,
        i32::try_from(batch.attempts_max).unwrap_or(i32::MAX),
        &of.each(|message| message.lane),
        &of.each(|message| message.okey) as &[Option<i64>],
        &of.each(|message| message.id),
        &of.each(|message| message.message_id.as_str()) as &[&str],
        &of.each(|message| &*message.topic) as &[&str],
        &of.each(|message| message.partition),
        &of.each(|message| message.offset),
        &of.each(|message| message.source.as_str()) as &[&str],
        &of.each(|message| message.event_type.as_str()) as &[&str],
        &of.each(|message| message.schema_version.as_deref()) as &[Option<&str>],
        &of.each(|message| message.key.as_deref()) as &[Option<&[u8]>],
        &of.each(|message| message.payload.as_deref()) as &[Option<&[u8]>],
        &of.each(|message| message.content_type.as_deref()) as &[Option<&str>],
        &of.each(|message| headers_to_json(&message.headers)) as &[Option<Value>],
        &of.each(|message| message.produced_at_ms),
        &of.each(|message| message.trace_id.as_deref()) as &[Option<&str>],
        &of.each(|message| message.traceparent.as_deref()) as &[Option<&str>],
        &of.each(|message| message.correlation_id.as_deref()) as &[Option<&str>],
        &of.each(|message| message.causation_id.as_deref()) as &[Option<&str>],
        &of.each(|message| message.idempotency_key.as_deref()) as &[Option<&str>],
        &batch.rows.iter().map(|row| row.quarantined.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
    );
    let rows = rows.fetch_all(&mut **tx).await.map_err(DbError::new("storing records"))?;
    Ok(rows.into_iter().map(|row| ((row.lane, row.offset), row.seq)).collect())
}

/// Messages that go straight to the worker count as begun from here on.
async fn begin(
    tx: &mut Transaction<'_, Postgres>,
    fresh: impl Iterator<Item = &Message>,
) -> Result<(), DbError> {
    let mut highest: HashMap<i32, i64> = HashMap::new();
    for message in fresh {
        let seq = highest.entry(message.lane).or_default();
        *seq = (*seq).max(message.seq);
    }
    if highest.is_empty() {
        return Ok(());
    }
    let (lanes, seqs): (Vec<i32>, Vec<i64>) = highest.into_iter().unzip();
    sqlx::query!(
        "update mailroom.lane l set started_to = w.seq
           from unnest($1::integer[], $2::bigint[]) w(id, seq) where l.id = w.id",
        &lanes,
        &seqs,
    )
    .execute(&mut **tx)
    .await
    .map_err(DbError::new("marking messages as begun"))?;
    Ok(())
}

/// The rows by column, as `unnest` takes them.
struct Columns<'b>(&'b [NewRow]);

impl<'b> Columns<'b> {
    fn each<T>(&self, field: impl Fn(&'b Message) -> T) -> Vec<T> {
        self.0.iter().map(|row| field(&row.message)).collect()
    }
}
