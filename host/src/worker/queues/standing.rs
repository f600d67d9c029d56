//! Keys that do not simply go on: those with rows that are held in Postgres, and those behind a dead message.

use tokio::time::Instant;

use super::{Blocked, FOLLOWERS_MAX, FOLLOWERS_MIN, Queues};
use crate::worker::entry::{Entry, Key, Order};

impl Queues {
    /// A message that was let go; `false` where its lane is not open.
    pub(in crate::worker) fn push_freed(&mut self, key: Key, entry: Entry) -> bool {
        let seq = entry.message.seq;
        let fresh = self.in_hand.get_mut(&key.lane).is_some_and(|known| known.insert(seq));
        if fresh {
            self.requeue(key, entry);
        }
        fresh
    }

    /// Messages of one lane that are to be marked as held.
    pub(in crate::worker) fn next_hold(&mut self, rows_max: usize) -> Option<(i32, Vec<(Key, i64)>)> {
        let lane = *self.to_hold.keys().next()?;
        let rows = self.to_hold.get_mut(&lane)?;
        let batch = rows.drain(..rows.len().min(rows_max)).collect();
        if rows.is_empty() {
            self.to_hold.remove(&lane);
        }
        Some((lane, batch))
    }

    /// They could not be marked yet.
    pub(in crate::worker) fn hold_again(&mut self, lane: i32, rows: Vec<(Key, i64)>) {
        if self.has(lane) {
            self.to_hold.entry(lane).or_default().extend(rows);
        }
    }

    /// A key whose held rows are to be let go, and up to which `seq`: what lies above may have earlier
    /// followers that were not read yet. Only while nothing of its lane waits for being held.
    pub(in crate::worker) fn next_let_go(&self) -> Option<(Key, i64)> {
        self.held.iter().find_map(|(key, none_to)| {
            let queue = self.queues.get(key)?;
            let read_to = *self.read_to.get(&key.lane)?;
            let goes_on = queue.blocked.is_none_or(|blocked| blocked.parks);
            let wanted = goes_on
                && queue.waiting.len() <= FOLLOWERS_MIN
                && read_to > *none_to
                && !self.to_hold.contains_key(&key.lane)
                && !self.closing.contains(&key.lane);
            wanted.then_some((*key, read_to))
        })
    }

    /// Held rows of a key were let go up to `seq_max`; with `all`, none are left up to there.
    pub(in crate::worker) fn let_go(&mut self, key: Key, seq_max: i64, all: bool) {
        if !all {
            return;
        }
        let more = self.to_hold.get(&key.lane).is_some_and(|rows| rows.iter().any(|(of, _)| *of == key));
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

    /// The lane is read from its start again.
    pub(in crate::worker) fn reread(&mut self, lane: i32) {
        self.read_to.insert(lane, 0);
        self.held.iter_mut().filter(|(key, _)| key.lane == lane).for_each(|(_, none_to)| *none_to = 0);
    }

    /// Everything of the lane that is not held was read. Keys that were blocked before `as_of` and are not
    /// among `blocked` go on.
    pub(in crate::worker) fn caught_up(&mut self, lane: i32, blocked: &[(i64, bool)], as_of: Instant) {
        self.read_to.insert(lane, i64::MAX);
        let mut freed = Vec::new();
        for (key, queue) in self.queues.iter_mut().filter(|(key, _)| key.lane == lane) {
            let still = blocked.iter().any(|(okey, _)| key.order == Order::Key(*okey));
            if queue.blocked.is_some_and(|of| of.since < as_of) && !still {
                queue.blocked = None;
                freed.push(*key);
            }
        }
        freed.into_iter().for_each(|key| self.arm(key));
    }

    /// The key is behind a dead message from now on.
    pub(in crate::worker) fn block(&mut self, key: Key, parks: bool) {
        let queue = self.queues.entry(key).or_default();
        queue.blocked = Some(Blocked { parks, since: Instant::now() });
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
        let rows: Vec<(Key, i64)> = rows
            .inspect(|(_, seq)| {
                known.remove(seq);
            })
            .collect();
        queue.held = true;
        self.shed += rows.len();
        self.held.entry(key).or_insert(0);
        self.to_hold.entry(key.lane).or_default().extend(rows);
    }

    /// How many messages left the memory since this was last asked.
    pub(in crate::worker) fn take_shed(&mut self) -> usize {
        std::mem::take(&mut self.shed)
    }
}
