//! Records that have no row yet: inserted with what became of them so far, and the offset moves with them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Settlement;
use super::ending::Ending;
use crate::db::{DbError, Tx};
use crate::lane::Lease;
use crate::message::{LAST_ERROR_BYTES_MAX, Message, bounded, headers_to_json};

/// What polls brought for one lane.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) lease: Lease,
    /// Whether its messages go straight to the worker; else they are read later.
    pub(crate) direct: bool,
    pub(crate) advance: Advance,
    /// In the order of their `seq`.
    pub(crate) rows: Vec<FreshRow>,
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

/// A message that has no row yet.
#[derive(Debug)]
pub(crate) struct FreshRow {
    pub(crate) message: Arc<Message>,
    /// Why no handler can have it: it dies in its turn, and nobody is called for it.
    pub(crate) unfit: Option<String>,
}

/// Moves the offset rows under their epochs; `false` where one is no longer where we left it.
pub(super) async fn advance(tx: &mut Tx, group: &str, advances: &[&Advance]) -> Result<bool, DbError> {
    let topics: Vec<&str> = advances.iter().map(|advance| &*advance.topic).collect();
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
        group,
        &topics as &[&str],
        &partitions,
        &epochs,
        &from,
        &to,
    );
    let moved = moved.execute(&mut **tx).await.map_err(DbError::new("advancing offsets"))?;
    Ok(moved.rows_affected() == u64::try_from(advances.len()).unwrap_or(u64::MAX))
}

/// Where the offset rows stand as this very batch left them, it was committed before, and its reply was lost:
/// gives the `seq` of each of its rows. Nobody else moves the offsets under these epochs.
pub(super) async fn committed(
    tx: &mut Tx,
    group: &str,
    advances: &[&Advance],
    rows: &[&FreshRow],
) -> Result<Option<HashSet<i64>>, DbError> {
    let topics: Vec<&str> = advances.iter().map(|advance| &*advance.topic).collect();
    let reached = sqlx::query_scalar!(
        r#"select count(*) as "reached!"
             from unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[]) w(topic, partition, epoch, next)
             join mailroom.partition_offset o
               on o.consumer_group = $1 and o.topic = w.topic and o.partition = w.partition
              and o.epoch = w.epoch and o.next_offset = w.next"#,
        group,
        &topics as &[&str],
        &advances.iter().map(|advance| advance.partition).collect::<Vec<_>>(),
        &advances.iter().map(|advance| advance.epoch).collect::<Vec<_>>(),
        &advances.iter().map(|advance| advance.to).collect::<Vec<_>>(),
    );
    let reached = reached.fetch_one(&mut **tx).await.map_err(DbError::new("looking for a lost commit"))?;
    if usize::try_from(reached).ok() != Some(advances.len()) {
        return Ok(None);
    }
    let of = Columns(rows);
    let rows = sqlx::query_scalar!(
        r#"select w.seq as "seq!" from unnest($2::text[], $3::bigint[]) w(message_id, seq)
             join mailroom.inbox i
               on i.message_id = w.message_id and i.consumer_group = $1 and i.seq = w.seq"#,
        group,
        &of.each(|message| message.message_id.as_str()) as &[&str],
        &of.each(|message| message.seq),
    );
    let rows = rows.fetch_all(&mut **tx).await.map_err(DbError::new("looking for a lost commit"))?;
    Ok(Some(rows.into_iter().collect()))
}

/// Inserts the rows; those in `held` are behind a waiting message of their key. Gives the `seq` of each row
/// that the group did not have.
pub(super) async fn insert(
    tx: &mut Tx,
    group: &str,
    rows: &[&FreshRow],
    decided: &HashMap<i64, &Settlement>,
    held: &HashSet<i64>,
) -> Result<HashSet<i64>, DbError> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let of = Columns(rows);
    let ended: Vec<Option<&&Settlement>> = rows.iter().map(|row| decided.get(&row.message.seq)).collect();
    let endings: Vec<Ending> = ended
        .iter()
        .map(|settlement| settlement.map_or_else(Ending::pending, |of| Ending::of(&of.verdict)))
        .collect();
    let rows = sqlx::query_file_scalar!(
        "src/settle/fresh.sql",
        group,
        &of.each(|message| message.seq),
        &of.each(|message| i32::try_from(message.attempts_max).unwrap_or(i32::MAX)),
        &of.each(|message| message.lane),
        &of.some(|message| message.okey) as &[Option<i64>],
        &of.each(|message| message.id),
        &of.each(|message| message.message_id.as_str()) as &[&str],
        &of.each(|message| &*message.topic) as &[&str],
        &of.each(|message| message.partition),
        &of.each(|message| message.offset),
        &of.each(|message| message.source.as_str()) as &[&str],
        &of.each(|message| message.event_type.as_str()) as &[&str],
        &of.some(|message| message.schema_version.as_deref()) as &[Option<&str>],
        &of.some(|message| message.key.as_deref()) as &[Option<&[u8]>],
        &of.some(|message| message.payload.as_deref()) as &[Option<&[u8]>],
        &of.some(|message| message.content_type.as_deref()) as &[Option<&str>],
        &of.some(|message| headers_to_json(&message.headers)) as &[Option<String>],
        &of.each(|message| message.produced_at_ms),
        &of.some(|message| message.trace_id.as_deref()) as &[Option<&str>],
        &of.some(|message| message.traceparent.as_deref()) as &[Option<&str>],
        &of.some(|message| message.correlation_id.as_deref()) as &[Option<&str>],
        &of.some(|message| message.causation_id.as_deref()) as &[Option<&str>],
        &of.some(|message| message.idempotency_key.as_deref()) as &[Option<&str>],
        &of.each(|message| held.contains(&message.seq)),
        &endings.iter().map(|ending| ending.status).collect::<Vec<_>>() as &[&str],
        &some(endings.iter().map(|ending| ending.outcome).collect()) as &[Option<&str>],
        &some(endings.iter().map(|ending| ending.outcome_reason.as_deref()).collect()) as &[Option<&str>],
        &some(endings.iter().map(|ending| ending.failed_reason).collect()) as &[Option<&str>],
        &endings.iter().map(|ending| ending.counted).collect::<Vec<_>>(),
        &ended.iter().map(|settlement| i32::from(settlement.is_some())).collect::<Vec<_>>(),
        &some(endings.iter().map(|ending| ending.error.as_deref()).collect()) as &[Option<&str>],
        &some(ended.iter().map(|settlement| settlement.and_then(|of| of.digest.as_deref())).collect())
            as &[Option<&str>],
        &endings.iter().map(|ending| ending.delay.unwrap_or(0.0)).collect::<Vec<_>>(),
        &some(rows.iter().map(|row| row.unfit.as_deref().map(words)).collect()) as &[Option<String>],
    );
    let rows = rows.fetch_all(&mut **tx).await.map_err(DbError::new("storing records"))?;
    Ok(rows.into_iter().collect())
}

/// Messages that run while their rows are made count as begun.
pub(super) async fn begin(tx: &mut Tx, begun: impl Iterator<Item = &Message>) -> Result<(), DbError> {
    let mut highest: HashMap<i32, i64> = HashMap::new();
    for message in begun {
        let seq = highest.entry(message.lane).or_default();
        *seq = (*seq).max(message.seq);
    }
    if highest.is_empty() {
        return Ok(());
    }
    let (lanes, seqs): (Vec<i32>, Vec<i64>) = highest.into_iter().unzip();
    sqlx::query!(
        "update mailroom.lane l set started_to = greatest(l.started_to, w.seq)
           from unnest($1::integer[], $2::bigint[]) w(id, seq) where l.id = w.id",
        &lanes,
        &seqs,
    )
    .execute(&mut **tx)
    .await
    .map_err(DbError::new("marking messages as begun"))?;
    Ok(())
}

/// A reason as a row has room for it.
fn words(reason: &str) -> String {
    bounded(reason, LAST_ERROR_BYTES_MAX)
}

/// The rows by column, as `unnest` takes them.
struct Columns<'b>(&'b [&'b FreshRow]);

impl<'b> Columns<'b> {
    fn each<T>(&self, field: impl Fn(&'b Message) -> T) -> Vec<T> {
        self.0.iter().map(|row| field(&row.message)).collect()
    }

    fn some<T>(&self, field: impl Fn(&'b Message) -> Option<T>) -> Vec<Option<T>> {
        some(self.each(field))
    }
}

/// A column of which nothing is there is left out: `unnest` fills it up.
pub(super) fn some<T>(column: Vec<Option<T>>) -> Vec<Option<T>> {
    if column.iter().all(Option::is_none) { Vec::new() } else { column }
}
