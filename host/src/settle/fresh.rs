//! Records that have no row yet: inserted with what became of them so far, and the offset moves with them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use mailroom_core::handler_machine::command::{Insert, LaneWrite, NewRow, NewRowState};
use mailroom_core::ids::{LaneId, Seq};

use super::Effects;
use super::settlement::{Ending, Place, Row, Settlement};
use crate::db::{DbError, Tx};
use crate::message::{LAST_ERROR_BYTES_MAX, Message, bounded, headers_to_json};

/// A record that gets its row.
#[derive(Debug)]
pub(super) struct Record<'w> {
    message: &'w Message,
    new: &'w NewRow<Effects>,
}

impl<'w> Record<'w> {
    fn of(new: &'w NewRow<Effects>) -> Self {
        Self { message: &new.message, new }
    }

    pub(super) fn message(&self) -> &'w Message {
        self.message
    }

    pub(super) fn place(&self) -> Place {
        (LaneId(self.message.lane), Seq(self.message.seq))
    }

    /// Reads how its message ends; `None` while nothing is decided.
    pub(super) fn settlement(&self) -> Option<Settlement<'w>> {
        let NewRowState::Ended(how) = &self.new.as_what else { return None };
        Some(Settlement::of(self.message, Row::New, how))
    }

    fn is_running(&self) -> bool {
        matches!(self.new.as_what, NewRowState::Running)
    }

    /// True if it waits behind its key.
    fn is_held(&self) -> bool {
        matches!(self.new.as_what, NewRowState::Held)
    }
}

/// Gives all records that get their rows, by lane and place.
pub(super) fn records(lanes: &[LaneWrite<Effects>]) -> Vec<Record<'_>> {
    let inserts = lanes.iter().filter_map(|lane| lane.insert.as_ref());
    inserts.flat_map(|insert| &insert.rows).map(Record::of).collect()
}

/// Moves the offset rows under their epochs; gives the lanes whose offset row is no longer where it was left.
pub(super) async fn advance(
    tx: &mut Tx,
    group: &str,
    lanes: &[LaneWrite<Effects>],
) -> Result<BTreeSet<LaneId>, DbError> {
    let inserts: Vec<(LaneId, &Insert<Effects>)> =
        lanes.iter().filter_map(|lane| Some((lane.lease.lane, lane.insert.as_ref()?))).collect();
    if inserts.is_empty() {
        return Ok(BTreeSet::new());
    }
    let of = |field: fn(&Insert<Effects>) -> i64| -> Vec<i64> {
        inserts.iter().map(|(_, insert)| field(insert)).collect()
    };
    let moved = sqlx::query!(
        "update mailroom.partition_offset o set next_offset = w.next, updated_at = clock_timestamp()
           from unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[])
                w(topic, partition, epoch, expected, next)
          where o.consumer_group = $1 and o.topic = w.topic and o.partition = w.partition
            and o.epoch = w.epoch and o.next_offset = w.expected
         returning o.topic, o.partition",
        group,
        &inserts.iter().map(|(_, insert)| &*insert.partition.topic).collect::<Vec<_>>() as &[&str],
        &inserts.iter().map(|(_, insert)| insert.partition.partition).collect::<Vec<_>>(),
        &of(|insert| insert.epoch),
        &of(|insert| insert.from),
        &of(|insert| insert.to),
    );
    let moved = moved.fetch_all(&mut **tx).await.map_err(DbError::new("advancing offsets"))?;
    let moved: HashSet<(&str, i32)> = moved.iter().map(|row| (row.topic.as_str(), row.partition)).collect();
    let lost = inserts.iter().filter(|(_, insert)| {
        let of = &insert.partition;
        !moved.contains(&(&*of.topic, of.partition))
    });
    Ok(lost.map(|(lane, _)| *lane).collect())
}

/// Inserts the rows, each as it was decided; gives the `seq` of each that the group did not have.
pub(super) async fn insert(
    tx: &mut Tx,
    group: &str,
    records: &[Record<'_>],
) -> Result<HashSet<Seq>, DbError> {
    if records.is_empty() {
        return Ok(HashSet::new());
    }
    let of = Columns(records);
    let ended: Vec<Option<Settlement<'_>>> = records.iter().map(Record::settlement).collect();
    let endings: Vec<Ending> =
        ended.iter().map(|ended| ended.as_ref().map_or_else(Ending::pending, Settlement::ending)).collect();
    let held = |(record, ending): (&Record<'_>, &Ending)| record.is_held() || ending.held;
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
        &records.iter().zip(&endings).map(held).collect::<Vec<_>>(),
        &endings.iter().map(|ending| ending.status).collect::<Vec<_>>() as &[&str],
        &some(endings.iter().map(|ending| ending.outcome).collect()) as &[Option<&str>],
        &some(endings.iter().map(|ending| ending.outcome_reason.as_deref()).collect()) as &[Option<&str>],
        &some(endings.iter().map(|ending| ending.failed_reason).collect()) as &[Option<&str>],
        &endings.iter().map(|ending| ending.counted).collect::<Vec<_>>(),
        &ended.iter().map(|ended| i32::from(ended.is_some())).collect::<Vec<_>>(),
        &some(endings.iter().map(|ending| ending.error.as_deref()).collect()) as &[Option<&str>],
        &some(ended.iter().map(|ended| ended.as_ref().and_then(|of| of.digest)).collect())
            as &[Option<&str>],
        &endings.iter().map(|ending| ending.delay.unwrap_or(0.0)).collect::<Vec<_>>(),
        &some(records.iter().map(|record| record.new.unfit.as_deref().map(words)).collect())
            as &[Option<String>],
        &endings.iter().map(|ending| ending.held).collect::<Vec<_>>(),
    );
    let rows = rows.fetch_all(&mut **tx).await.map_err(DbError::new("storing records"))?;
    Ok(rows.into_iter().map(Seq).collect())
}

/// Notes that messages which run while their rows are made may be begun.
pub(super) async fn begin(
    tx: &mut Tx,
    records: &[Record<'_>],
    inserted: &HashSet<Seq>,
) -> Result<(), DbError> {
    let begun = records.iter().filter(|record| record.is_running()).map(Record::place);
    let mut highest: BTreeMap<i32, i64> = BTreeMap::new();
    for (lane, seq) in begun.filter(|(_, seq)| inserted.contains(seq)) {
        let up_to = highest.entry(lane.0).or_default();
        *up_to = (*up_to).max(seq.0);
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

/// The records by column, as `unnest` takes them.
struct Columns<'b>(&'b [Record<'b>]);

impl<'b> Columns<'b> {
    fn each<T>(&self, field: impl Fn(&'b Message) -> T) -> Vec<T> {
        self.0.iter().map(|record| field(record.message)).collect()
    }

    fn some<T>(&self, field: impl Fn(&'b Message) -> Option<T>) -> Vec<Option<T>> {
        some(self.each(field))
    }
}

/// A column of which nothing is there is left out: `unnest` fills it up.
pub(super) fn some<T>(column: Vec<Option<T>>) -> Vec<Option<T>> {
    if column.iter().all(Option::is_none) { Vec::new() } else { column }
}
