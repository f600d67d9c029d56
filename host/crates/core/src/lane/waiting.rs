//! Keys that wait in Postgres: their rows are held there, and memory knows their names.
//!
//! Order of a key, where it waits for long: `spill_behind` has the messages behind the one that waits leave memory and
//! their rows marked as held. Records of the key that are polled from then on are stored held, and not called
//! (`polled`). [`Spilled`] says what wakes the key, and `tidy` has it read on once that has ended. It is read in order,
//! and reading stops at the first row that still waits (`rows_read`, `reading`). `check` has an invariant of it: a key
//! with rows that are not in memory is awake, or something will wake it.
//!
//! Memory keeps a beginning of each key's pending rows: a key that takes more than its share gives up its last ones.

use std::time::Duration;

use super::items::{Row, Stage};
use super::{Lane, Phase};
use crate::ids::{OrderBy, Seq};
use crate::time::Moment;

/// A message that waits longer than this does so in Postgres.
pub(super) const STAYS_MAX: Duration = Duration::from_millis(100);
/// A key's rows are read on when no more than this many of its messages are in memory.
const FOLLOWERS_MIN: usize = 10;
/// A key that gives up memory keeps this many messages.
const FOLLOWERS_KEPT: usize = 100;

/// Cause that wakes a key whose rows lie held in Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Spilled {
    /// The first row wakes it, at its time.
    Wakes,
    /// The first row wakes it, and not before its time.
    Waits {
        /// The row's time.
        until: Moment,
    },
    /// The messages of it that are in memory: once they have ended it is read on.
    Follows {
        /// An operator touched it, or a row below what was read may be pending: once nothing of it is in memory it
        /// is read from its first row.
        from_start: bool,
    },
    /// The end of the lane's scan: rows of it that are not held may lie ahead.
    BehindScan,
    /// Nothing here: no subscription takes its first row.
    Unclaimed,
}

impl<S: Clone, E: Clone> Lane<S, E> {
    /// The messages of a key behind a place leave memory: they wait in Postgres.
    pub(super) fn spill_behind(&mut self, order: OrderBy, behind: Seq) {
        let Some(queue) = self.keys.get_mut(&order) else { return };
        let at = queue.seqs.partition_point(|seq| *seq <= behind).max(queue.begun);
        let leaving: Vec<Seq> = queue.seqs.split_off(at).into();
        // A message without a key has no followers.
        if order.key().is_some() {
            self.spilled.insert(order, Spilled::Wakes);
            if self.waits_behind_dead(order) {
                self.spilled.insert(order, Spilled::Follows { from_start: false });
            }
        }
        leaving.into_iter().for_each(|seq| self.leave_memory(seq));
    }

    /// A message that waits leaves memory; its row is held from then on. It is in no queue of its key any more.
    fn leave_memory(&mut self, seq: Seq) {
        let Some(item) = self.items.remove(seq) else { return };
        let order = item.order;
        self.ready.remove(&(seq, order));
        if let Stage::Waiting { due } = item.stage {
            self.timers.remove(&(due, order));
        }
        match item.row {
            Row::Held => {}
            // On its way into Postgres as pending: it is marked once it is there.
            Row::Unstored if !self.inserts.hold(seq, true) => drop(self.to_spill.insert(seq, (false, order))),
            Row::Unstored => {}
            Row::Ready => drop(self.to_spill.insert(seq, (false, order))),
        }
    }

    /// A key with messages in memory that takes more than its share gives up its last ones; says whether any left.
    pub(crate) fn spill_largest(&mut self) -> bool {
        let waiting = |queue: &super::KeyQueue<S>| queue.seqs.len() - queue.begun.min(queue.seqs.len());
        let largest = self.keys.iter().filter(|(order, _)| order.key().is_some());
        let Some((order, queue)) = largest.max_by_key(|(_, queue)| waiting(queue)) else { return false };
        let (order, kept) = (*order, queue.begun + FOLLOWERS_KEPT);
        if waiting(queue) <= FOLLOWERS_KEPT {
            return false;
        }
        let Some(last) = queue.seqs.get(kept.saturating_sub(1)).copied() else { return false };
        let before = self.spilled.get(&order).copied();
        self.spill_behind(order, last);
        // Its own messages go before them.
        self.spilled.insert(order, before.unwrap_or(Spilled::Follows { from_start: false }));
        self.forget_timers(order);
        true
    }

    /// Gives how many messages of the key that has most of them wait in memory.
    pub(crate) fn largest_key(&self) -> usize {
        self.keys
            .values()
            .map(|queue| queue.seqs.len() - queue.begun.min(queue.seqs.len()))
            .max()
            .unwrap_or(0)
    }

    fn forget_timers(&mut self, order: OrderBy) {
        if !self.keys.contains_key(&order) {
            self.timers.retain(|(_, of)| *of != order);
        }
    }

    /// Drops a key of which nothing is in memory, and has it read on where its rows wait for that.
    pub(super) fn tidy(&mut self, order: OrderBy) {
        let in_memory = self.keys.get(&order).map_or(0, |queue| queue.seqs.len());
        if in_memory == 0 {
            self.set_state(order, None);
            self.keys.remove(&order);
        }
        if self.waits_behind_dead(order) {
            return;
        }
        if let Some(Spilled::Follows { from_start }) = self.spilled.get(&order)
            && (in_memory == 0 || (in_memory <= FOLLOWERS_MIN && !from_start))
        {
            self.to_read.insert(order);
        }
    }

    /// An operator's act was found: the key is read from its first row once nothing of it is in memory.
    pub(super) fn touched(&mut self, order: OrderBy, now: Moment) {
        let seqs = self.keys.get(&order).map(|queue| queue.seqs.iter()).into_iter().flatten();
        let mut unstored =
            seqs.filter(|seq| self.items.get(**seq).is_some_and(|item| item.row == Row::Unstored));
        if let Some(first) = unstored.next().copied() {
            // What has no row yet goes behind what was touched, whatever became of it so far.
            self.fall_from(order, first, now);
            self.spill_behind(order, Seq(first.0 - 1));
        }
        self.spilled.insert(order, Spilled::Follows { from_start: true });
        self.tidy(order);
    }

    /// Stops starting anything: what waits leaves memory, records are stored up to the last that was begun.
    pub(crate) fn close(&mut self, by: Moment, now: Moment) {
        match self.phase {
            Phase::Opening { .. } | Phase::Working => self.phase = Phase::Closing { by },
            Phase::Closing { by: before } => self.phase = Phase::Closing { by: before.min(by) },
            Phase::Doubtful { retry_at, tries, .. } => {
                self.phase = Phase::Doubtful { retry_at, tries, closing: true };
            }
            Phase::Releasing => {}
        }
        self.progress_at = now;
        let waiting: Vec<Seq> =
            self.items.iter().filter(|(_, item)| item.is_waiting()).map(|(seq, _)| *seq).collect();
        for seq in waiting {
            let Some(item) = self.items.remove(seq) else { continue };
            if let Some(queue) = self.keys.get_mut(&item.order) {
                queue.remove(seq, false);
            }
            if item.row == Row::Unstored {
                self.inserts.leave(seq, true);
            }
        }
        self.ready.clear();
        self.timers.clear();
        self.to_spill.clear();
        self.to_read.clear();
        let items = &self.items;
        self.inserts.drop_behind(|row| items.contains(row.seq()));
    }
}
