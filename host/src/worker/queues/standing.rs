//! Keys that do not simply go on: those with rows that are held in Postgres, and those behind a dead message.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use super::{Blocked, FOLLOWERS_MAX, FOLLOWERS_MIN, Queue, Queues};
use crate::worker::entry::{Entry, Key, Order};
use crate::worker::in_hand::Weight;

impl Queues {
    /// A message that was let go, where its lane is open; gives what came into memory.
    pub(in crate::worker) fn push_freed(&mut self, key: Key, entry: Entry) -> Weight {
        let (seq, weight) = (entry.message.seq, Weight::of(&entry.message));
        let fresh = self.in_hand.get_mut(&key.lane).is_some_and(|known| known.insert(seq, weight).is_none());
        if !fresh {
            return Weight::default();
        }
        self.requeue(key, entry);
        weight
    }

    /// Messages of one lane that are to be marked as held. Those from the first in `unstored` on have no row
    /// yet.
    pub(in crate::worker) fn next_hold(
        &mut self,
        unstored: &HashMap<i32, i64>,
        rows_max: usize,
    ) -> Option<(i32, Vec<(Key, i64)>)> {
        let has_row = |lane: &i32, seq: i64| unstored.get(lane).is_none_or(|first| seq < *first);
        let (lane, rows) =
            self.to_hold.iter_mut().find(|(lane, rows)| rows.iter().any(|(_, seq)| has_row(lane, *seq)))?;
        let lane = *lane;
        let batch = rows.extract_if(.., |(_, seq)| has_row(&lane, *seq)).take(rows_max).collect();
        if rows.is_empty() {
            self.to_hold.remove(&lane);
        }
        Some((lane, batch))
    }

    /// Those of these messages that are to be held: they are inserted so.
    pub(in crate::worker) fn to_hold_among(&self, seqs: &HashSet<i64>) -> HashSet<i64> {
        self.to_hold.values().flatten().map(|(_, seq)| *seq).filter(|seq| seqs.contains(seq)).collect()
    }

    /// These messages were inserted as held, or will never be inserted.
    pub(in crate::worker) fn inserted_held(&mut self, held: &HashSet<i64>) {
        for rows in self.to_hold.values_mut() {
            rows.retain(|(_, seq)| !held.contains(seq));
        }
        self.to_hold.retain(|_, rows| !rows.is_empty());
    }

    /// They could not be marked yet.
    pub(in crate::worker) fn hold_again(&mut self, lane: i32, rows: Vec<(Key, i64)>) {
        if self.has(lane) {
            self.to_hold.entry(lane).or_default().extend(rows);
        }
    }

    /// A key whose held rows are to be let go, and up to which `seq`: what lies above may have earlier
    /// followers that were not read yet. Only while nothing of it waits for being held.
    pub(in crate::worker) fn next_let_go(&self) -> Option<(Key, i64)> {
        self.held.iter().find_map(|(key, none_to)| {
            let queue = self.queues.get(key)?;
            let read_to = *self.read_to.get(&key.lane)?;
            let goes_on = queue.blocked.is_none_or(|blocked| blocked.parks);
            let wanted = goes_on
                && queue.waiting.len() <= FOLLOWERS_MIN
                && read_to > *none_to
                && !self.waits_for_hold(*key)
                && !self.closing.contains(&key.lane);
            wanted.then_some((*key, read_to))
        })
    }

    /// Held rows of a key were let go up to `seq_max`; with `all`, none are left up to there.
    pub(in crate::worker) fn let_go(&mut self, key: Key, seq_max: i64, all: bool) {
        if !all {
            return;
        }
        let more = self.waits_for_hold(key);
        if seq_max == i64::MAX && !more {
            self.held.remove(&key);
            if let Some(queue) = self.queues.get_mut(&key) {
                queue.held = false;
            }
            self.tidy(key);
        } else if let Some(none_to) = self.held.get_mut(&key) {
            *none_to = if seq_max == i64::MAX { 0 } else { seq_max };
        }
    }

    /// Nothing of the lane starts before what raised its counter to this was read; `false` where that is so
    /// already.
    pub(in crate::worker) fn pause(&mut self, lane: i32, counter: i64) -> bool {
        if !self.has(lane) || self.paused.get(&lane).is_some_and(|paused| *paused >= counter) {
            return false;
        }
        self.paused.insert(lane, counter);
        self.reread_to.insert(lane, counter);
        true
    }

    /// The lane was read as its counter said it.
    pub(in crate::worker) fn go_on(&mut self, lane: i32, counter: i64) {
        if self.paused.get(&lane).is_some_and(|paused| *paused <= counter) {
            self.paused.remove(&lane);
            let keys: Vec<Key> = self.queues.keys().copied().filter(|key| key.lane == lane).collect();
            keys.into_iter().for_each(|key| self.arm(key));
        }
    }

    /// By lane, the counter up to which it was, or will be, read again before anything else.
    pub(in crate::worker) fn reread_to(&self) -> &HashMap<i32, i64> {
        &self.reread_to
    }

    /// Those of these messages that run.
    pub(in crate::worker) fn running(&self, seqs: &HashSet<i64>) -> HashSet<i64> {
        let running = self.queues.values().filter_map(|queue| queue.running.map(|(_, seq)| seq));
        running.filter(|seq| seqs.contains(seq)).collect()
    }

    /// By lane of which a message may start, the `seq` up to which about `count` messages in all come next, not
    /// counting those that are `noted` already. Those from the first in `unstored` on have no row yet, and are
    /// left out.
    pub(in crate::worker) fn next_ready(
        &self,
        noted: &HashMap<i32, i64>,
        unstored: &HashMap<i32, i64>,
        count: usize,
    ) -> HashMap<i32, i64> {
        let mut firsts: HashMap<i32, i64> = HashMap::new();
        for (seq, key) in &self.ready {
            firsts.entry(key.lane).or_insert(*seq);
        }
        let of_each = count.div_ceil(firsts.len().max(1));
        let highest = |(lane, first): (i32, i64)| {
            let first = noted.get(&lane).map_or(first, |noted| first.max(noted + 1));
            let below = unstored.get(&lane).copied().unwrap_or(i64::MAX);
            let next = self.in_hand.get(&lane)?.range(first..below.max(first)).take(of_each);
            Some((lane, *next.last()?.0))
        };
        firsts.into_iter().filter_map(highest).collect()
    }

    /// Keys of the lane of which one of these messages runs.
    pub(in crate::worker) fn running_among(&self, lane: i32, seqs: &HashSet<i64>) -> HashSet<Key> {
        let runs = |queue: &Queue| queue.running.is_some_and(|(_, seq)| seqs.contains(&seq));
        let keys = self.queues.iter().filter(|(key, queue)| key.lane == lane && runs(queue));
        keys.map(|(key, _)| *key).collect()
    }

    fn waits_for_hold(&self, key: Key) -> bool {
        self.to_hold.get(&key.lane).is_some_and(|rows| rows.iter().any(|(of, _)| *of == key))
    }

    /// The lane is read from its start again.
    pub(in crate::worker) fn reread(&mut self, lane: i32) {
        self.read_to.insert(lane, 0);
        self.held.iter_mut().filter(|(key, _)| key.lane == lane).for_each(|(_, none_to)| *none_to = 0);
    }

    /// Everything of the lane that is not held was read. Keys behind deaths that were committed before `as_of` and
    /// are not among `blocked` go on. A death that is still to be written is not taken for a letter that was closed.
    pub(in crate::worker) fn caught_up(&mut self, lane: i32, blocked: &[(i64, bool)], as_of: Instant) {
        self.read_to.insert(lane, i64::MAX);
        let mut freed = Vec::new();
        for (key, queue) in self.queues.iter_mut().filter(|(key, _)| key.lane == lane) {
            let still = blocked.iter().any(|(okey, _)| key.order == Order::Key(*okey));
            if queue.blocked.is_some_and(|of| of.written.is_some_and(|at| at < as_of)) && !still {
                queue.blocked = None;
                freed.push(*key);
            }
        }
        freed.into_iter().for_each(|key| self.arm(key));
    }

    /// The key is behind a dead message from now on, whose death is committed where it is `written`.
    pub(in crate::worker) fn block(&mut self, key: Key, parks: bool, written: bool) {
        let queue = self.queues.entry(key).or_default();
        queue.blocked = Some(Blocked { parks, written: written.then(Instant::now) });
        self.shed(key);
    }

    /// A key that waits keeps its first followers in memory; the others are to be held.
    pub(in crate::worker) fn shed(&mut self, key: Key) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        if queue.waiting.len() <= FOLLOWERS_MAX || !queue.waits() {
            return;
        }
        let Some(known) = self.in_hand.get_mut(&key.lane) else { return };
        let rows = queue.waiting.drain(FOLLOWERS_MAX..).map(|entry| (key, entry.message.seq));
        let rows: Vec<(Key, i64)> = rows.collect();
        self.shed += rows.iter().filter_map(|(_, seq)| known.remove(seq)).sum();
        queue.held = true;
        self.held.entry(key).or_insert(0);
        self.to_hold.entry(key.lane).or_default().extend(rows);
    }

    /// What left the memory since this was last asked.
    pub(in crate::worker) fn take_shed(&mut self) -> Weight {
        std::mem::take(&mut self.shed)
    }
}
