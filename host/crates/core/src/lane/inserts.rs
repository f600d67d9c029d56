//! Records of polls: the messages and rows that are made of them, and those that have no row yet, in the order of their
//! offsets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::items::{Item, Row, Source, Stage, Weight, order_of};
use super::{Lane, Spilled};
use crate::ids::{OrderBy, Seq};
use crate::message::Message;
use crate::time::Moment;
use crate::verdict::Blocking;

/// Time that records wait for the next of their calls to end. A slow handler's messages are stored as pending
/// then, and their neighbours are not kept waiting for them.
const WAIT: Duration = Duration::from_millis(10);
/// Longest time that records wait in all, from the start of the first of their calls.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// Longest time that records wait for their turn to be started.
const TURN_MAX: Duration = Duration::from_secs(1);

/// Records of one partition that have their places.
#[derive(Debug, Clone, Hash)]
pub(crate) struct NumberedBatch {
    pub(crate) epoch: i64,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) records: Vec<(Arc<Message>, Option<Arc<str>>)>,
    /// Nothing of it is called before it is stored.
    pub(crate) stored_first: bool,
}

impl<S: Clone, E: Clone> Lane<S, E> {
    /// Takes records: to be handled and stored, or only stored where their key waits in Postgres.
    pub(crate) fn polled(&mut self, batch: NumberedBatch, now: Moment) {
        let mut rows = Vec::with_capacity(batch.records.len());
        let mut kept = Vec::with_capacity(batch.records.len());
        for (message, unfit) in batch.records {
            let order = order_of(&message);
            let held = self.spilled.contains_key(&order) || self.waits_behind_dead(order);
            if held {
                self.spilled.entry(order).or_insert(Spilled::Follows { from_start: false });
            } else {
                kept.push((Arc::clone(&message), unfit.clone()));
            }
            rows.push(QueuedRow { message, unfit, held, left: false, bare: false });
        }
        self.inserts.push(PolledBatch {
            epoch: batch.epoch,
            from: batch.from,
            to: batch.to,
            undecided: kept.len(),
            rows,
            since: now,
            moved: None,
            now: batch.stored_first,
            stored_first: batch.stored_first,
        });
        for (message, unfit) in kept {
            self.add(message, unfit, Row::Unstored, now, Source::Polled, batch.stored_first, now);
        }
    }

    /// Brings a message into memory, behind those of its key that are there.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one message's standing")]
    pub(super) fn add(
        &mut self,
        message: Arc<Message>,
        unfit: Option<Arc<str>>,
        row: Row,
        due: Moment,
        source: Source,
        stored_first: bool,
        now: Moment,
    ) {
        let (seq, order, weight) = (Seq(message.seq), order_of(&message), Weight::of(&message));
        let stage = Stage::Waiting { due };
        self.items.insert(Item { message, order, weight, source, row, stage, unfit, stored_first });
        self.keys.entry(order).or_default().add(seq);
        self.arm(order, now);
    }

    /// Tells whether later messages of the key wait for an operator.
    pub(super) fn waits_behind_dead(&self, order: OrderBy) -> bool {
        let blocked = order.key().and_then(|key| self.blocked.get(&key));
        blocked.is_some_and(|blocked| blocked.how == Blocking::Wait)
    }
}

/// A record that has no row yet.
#[derive(Debug, Clone, Hash)]
pub(crate) struct QueuedRow {
    pub(crate) message: Arc<Message>,
    pub(crate) unfit: Option<Arc<str>>,
    /// True if it is in no queue of a key: its key is held, and so is its row.
    pub(crate) held: bool,
    /// True if it is in no queue of a key, and is stored as pending for whoever has the lane next.
    pub(crate) left: bool,
    /// The database refused its content.
    pub(crate) bare: bool,
}

impl QueuedRow {
    pub(crate) fn seq(&self) -> Seq {
        Seq(self.message.seq)
    }

    /// Tells whether a message in memory stands for it.
    pub(crate) fn is_kept(&self) -> bool {
        !self.held && !self.left
    }
}

/// Records of polls, to be stored together.
#[derive(Debug, Clone, Hash)]
pub(crate) struct PolledBatch {
    pub(crate) epoch: i64,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) rows: Vec<QueuedRow>,
    /// Messages of it that are in memory and undecided.
    pub(crate) undecided: usize,
    /// Time at which it came, or became the oldest.
    pub(crate) since: Moment,
    /// Time at which the last of its calls began or ended.
    pub(crate) moved: Option<Moment>,
    /// True if it waits for no call.
    pub(crate) now: bool,
    /// Nothing of it is called before it is stored.
    pub(crate) stored_first: bool,
}

impl PolledBatch {
    /// Returns when it is to be stored.
    pub(crate) fn due(&self) -> Moment {
        if self.undecided == 0 || self.now {
            return self.since;
        }
        self.moved.map_or(self.since + TURN_MAX, |moved| (moved + WAIT).min(self.since + WAIT_MAX))
    }

    /// Weighs what of it no message in memory stands for.
    pub(crate) fn weight(&self) -> Weight {
        let alone = self.rows.iter().filter(|row| !row.is_kept());
        alone.fold(Weight::default(), |sum, row| sum + Weight::of(&row.message))
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        self.rows.binary_search_by_key(&seq, QueuedRow::seq).ok()
    }
}

/// Bounds of the records that are stored as one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    /// The most records.
    pub(crate) rows_max: usize,
    /// The most bytes, but for those of the first record.
    pub(crate) bytes_max: usize,
    /// The bound of records divides the first batch too.
    pub(crate) divide: bool,
}

/// Batches of a lane that are not stored yet, the oldest first.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct InsertQueue {
    batches: VecDeque<PolledBatch>,
    weight: Weight,
}

impl InsertQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(crate) fn weight(&self) -> Weight {
        self.weight
    }

    pub(crate) fn push(&mut self, batch: PolledBatch) {
        self.weight = self.weight + batch.weight();
        self.batches.push_back(batch);
    }

    /// Puts back what was not stored: it is the oldest again.
    pub(crate) fn put_back(&mut self, batch: PolledBatch) {
        self.weight = self.weight + batch.weight();
        self.batches.push_front(batch);
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &QueuedRow> {
        self.batches.iter().flat_map(|batch| &batch.rows)
    }

    pub(crate) fn batches(&self) -> impl Iterator<Item = &PolledBatch> {
        self.batches.iter()
    }

    fn batch_of(&mut self, seq: Seq) -> Option<&mut PolledBatch> {
        // A record of this place is in the last batch that begins at or before it.
        let behind =
            self.batches.partition_point(|batch| batch.rows.first().is_none_or(|row| row.seq() <= seq));
        let mut up_to = self.batches.range_mut(..behind);
        up_to.rfind(|batch| batch.index(seq).is_some())
    }

    /// The record's row is to be held; false where it is not here, but on its way or stored.
    pub(crate) fn hold(&mut self, seq: Seq, was_undecided: bool) -> bool {
        self.set_aside(seq, was_undecided, |row| row.held = true)
    }

    /// The record is stored for the lane's next owner; false where it is not here.
    pub(crate) fn leave(&mut self, seq: Seq, was_undecided: bool) -> bool {
        self.set_aside(seq, was_undecided, |row| row.left = true)
    }

    fn set_aside(&mut self, seq: Seq, was_undecided: bool, how: impl Fn(&mut QueuedRow)) -> bool {
        let Some(batch) = self.batch_of(seq) else { return false };
        let Some(row) = batch.index(seq).and_then(|at| batch.rows.get_mut(at)) else { return false };
        how(row);
        let weight = Weight::of(&row.message);
        batch.undecided = batch.undecided.saturating_sub(usize::from(was_undecided));
        self.weight = self.weight + weight;
        true
    }

    /// Held records of a key go straight on after all; gives them, and whether each is to be stored first.
    pub(crate) fn unhold(&mut self, is_of_key: impl Fn(&Message) -> bool) -> Vec<(QueuedRow, bool)> {
        let mut freed = Vec::new();
        for batch in &mut self.batches {
            for row in batch.rows.iter_mut().filter(|row| row.held && is_of_key(&row.message)) {
                row.held = false;
                batch.undecided += 1;
                self.weight = self.weight - Weight::of(&row.message);
                freed.push((row.clone(), batch.stored_first));
            }
        }
        freed
    }

    /// A call of the record begins.
    pub(crate) fn started(&mut self, seq: Seq, now: Moment) {
        if let Some(batch) = self.batch_of(seq)
            && batch.moved.replace(now).is_none()
        {
            batch.since = now;
        }
    }

    /// The record was decided.
    pub(crate) fn decided(&mut self, seq: Seq, now: Moment) {
        if let Some(batch) = self.batch_of(seq) {
            batch.undecided = batch.undecided.saturating_sub(1);
            batch.moved = Some(now);
        }
    }

    /// The record is undecided again.
    pub(crate) fn undecided(&mut self, seq: Seq) {
        if let Some(batch) = self.batch_of(seq) {
            batch.undecided += 1;
        }
    }

    /// Nothing of it waits for calls any more.
    pub(crate) fn hurry(&mut self) {
        self.batches.iter_mut().for_each(|batch| batch.now = true);
    }

    /// The record is stored without its content.
    pub(crate) fn bare(&mut self, seq: Seq) {
        let Some(batch) = self.batch_of(seq) else { return };
        let Some(row) = batch.index(seq).and_then(|at| batch.rows.get_mut(at)) else { return };
        let before = Weight::of(&row.message);
        row.bare = true;
        row.message = Arc::new(row.message.bare());
        row.unfit.get_or_insert_with(|| "the database refuses its content".into());
        let (counts, after) = (!row.is_kept(), Weight::of(&row.message));
        if counts {
            self.weight = self.weight - before + after;
        }
    }

    /// Drops what comes behind the last record that `is_wanted`; gives the places of what was dropped.
    pub(crate) fn drop_behind(&mut self, is_wanted: impl Fn(&QueuedRow) -> bool) -> Vec<Seq> {
        let mut dropped = Vec::new();
        while let Some(last) = self.batches.pop_back_if(|batch| !batch.rows.iter().any(&is_wanted)) {
            self.weight = self.weight - last.weight();
            dropped.extend(last.rows.iter().filter(|row| row.is_kept()).map(QueuedRow::seq));
        }
        dropped
    }

    /// Returns when the oldest is to be stored.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.batches.front().map(PolledBatch::due)
    }

    /// Returns how many records are to be stored now; an offset alone counts too.
    pub(crate) fn due(&self, now: Moment) -> usize {
        self.batches.iter().take_while(|batch| batch.due() <= now).map(|batch| batch.rows.len().max(1)).sum()
    }

    /// Takes what is to be stored now as one; `bytes_of` says what writing a record takes.
    pub(crate) fn take_due(
        &mut self,
        now: Moment,
        most: Most,
        bytes_of: impl Fn(&QueuedRow) -> usize,
    ) -> Option<PolledBatch> {
        if most.rows_max == 0 || most.bytes_max == 0 {
            return None;
        }
        let mut taken = self.batches.pop_front_if(|first| first.due() <= now)?;
        let mut bytes = 0;
        let mut fits = |row: &QueuedRow| {
            bytes += bytes_of(row);
            bytes <= most.bytes_max
        };
        let fitting = taken.rows.iter().take_while(|row| fits(row)).count().max(1);
        let rows = if most.divide { fitting.min(most.rows_max) } else { fitting };
        if taken.rows.len() > rows {
            self.batches.push_front(split(&mut taken, rows));
        }
        while let Some(next) = self.batches.pop_front_if(|next| {
            let is_small = taken.rows.len() + next.rows.len() <= most.rows_max;
            next.due() <= now && is_small && next.rows.iter().all(&mut fits)
        }) {
            taken.to = next.to;
            taken.undecided += next.undecided;
            taken.rows.extend(next.rows);
        }
        self.weight = self.weight - taken.weight();
        if let Some(next) = self.batches.front_mut()
            && next.moved.is_some()
        {
            // Its wait for its turn goes on, its wait for calls begins.
            next.since = now;
        }
        Some(taken)
    }
}

/// Leaves the first records; gives the others as a batch of their own.
fn split(batch: &mut PolledBatch, rows: usize) -> PolledBatch {
    let rest = batch.rows.split_off(rows);
    let from = batch.rows.last().map_or(batch.from, |row| row.message.offset + 1);
    let behind = PolledBatch { from, rows: rest, now: true, ..*batch };
    batch.to = from;
    behind
}
