//! Taking in what ingest has.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::Work;
use crate::settle::{Fresh, FreshRow};
use crate::worker::Feed;
use crate::worker::entry::Entry;
use crate::worker::fresh::Unstored;
use crate::worker::in_hand::Weight;

impl Work {
    pub(super) fn fed(&mut self, feed: Feed) {
        match feed {
            Feed::Opened(lease, topic, standing) => {
                // What was in hand under an older lease of the lane is another life's.
                self.decided.forget(lease.lane);
                self.worker.in_hand.remove(self.fresh.forget(lease.lane));
                let stale = self.queues.forget(lease.lane);
                self.worker.in_hand.remove(stale);
                self.queues.open(lease.lane, &standing, lease.reread_done());
                self.begun.forget(lease.lane);
                self.topics.insert(lease.lane, topic);
                self.leases.insert(lease.lane, lease);
            }
            Feed::Fresh { fresh, stored_first } => self.fed_fresh(fresh, stored_first),
            Feed::Messages(entries) => {
                let ordered = self.ordered();
                let mut refused = Weight::default();
                for entry in entries {
                    let weight = Weight::of(&entry.message);
                    if !self.queues.push(entry, ordered) {
                        refused += weight;
                    }
                }
                self.worker.in_hand.remove(refused);
            }
            Feed::Reread { lane, counter } => {
                self.queues.reread(lane);
                self.pause(lane, counter);
            }
            Feed::CaughtUp { lane, blocked, as_of, counter } => {
                self.queues.caught_up(lane, &blocked, as_of);
                self.queues.go_on(lane, counter);
            }
            Feed::Closed(lanes) => {
                for lane in lanes {
                    self.fresh.hurry(Some(lane));
                    let dropped = self.queues.close(lane);
                    self.worker.in_hand.remove(dropped);
                }
            }
        }
    }

    fn fed_fresh(&mut self, fresh: Vec<Fresh>, stored_first: bool) {
        for fresh in fresh {
            let stored_first = stored_first || self.fresh.stores_first(fresh.lease.lane);
            let (mut open, mut away) = (HashSet::new(), Weight::default());
            for row in &fresh.rows {
                if !stored_first && self.push_fresh(&fresh, row) {
                    open.insert(row.message.seq);
                } else {
                    away += Weight::of(&row.message);
                }
            }
            self.fresh.push(Unstored::new(fresh, stored_first, open, away));
        }
    }

    /// Queues a record, where it is to be handled now.
    fn push_fresh(&mut self, fresh: &Fresh, row: &FreshRow) -> bool {
        let ordered = self.ordered();
        let entry = || Entry {
            nonsense: row.unfit.clone(),
            ..Entry::due_at(Arc::clone(&row.message), Instant::now())
        };
        fresh.direct && self.queues.push(entry(), ordered)
    }

    /// Records have rows now.
    pub(super) fn stored(&mut self, unstored: Unstored, duplicates: &HashSet<i64>) {
        let Unstored { fresh, stored_first, mut away, .. } = unstored;
        for row in &fresh.rows {
            let (lane, seq) = (row.message.lane, row.message.seq);
            if duplicates.contains(&seq) {
                let key = Entry::due_at(Arc::clone(&row.message), Instant::now()).key(self.ordered());
                // What came behind it may have seen what it wrote, and is decided already.
                self.void(key);
                let dropped = self.queues.drop_message(key, seq);
                self.worker.in_hand.remove(dropped);
            } else if stored_first && self.push_fresh(&fresh, row) {
                away.take(Weight::of(&row.message));
            } else if !fresh.direct
                && let Some(lease) = self.leases.get(&lane)
            {
                lease.stored(seq);
            }
        }
        self.worker.in_hand.remove(away);
    }

    /// What an operator touched in the lane goes before what has no row yet: nothing of it starts before that was
    /// read, and what was begun is begun again.
    pub(super) fn pause(&mut self, lane: i32, counter: i64) {
        if !self.queues.pause(lane, counter) {
            return;
        }
        let unstored = self.fresh.of_lane(lane);
        let mut keys = self.queues.running_among(lane, &unstored);
        keys.extend(self.fresh.decided_keys(lane));
        keys.into_iter().for_each(|key| self.void(key));
    }

    fn ordered(&self) -> bool {
        self.worker.handler.current().manifest().ordered
    }
}
