//! Settling what was decided, and what follows from it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::{SETTLEMENTS_MAX, Work};
use crate::config::Settle;
use crate::pipeline::decide::Verdict;
use crate::worker::entry::{Entry, Key};
use crate::worker::fresh::Unstored;
use crate::worker::settling::{Decided, Ended, Fate, Stored, wait_of};

/// Fewer than this are not divided over two transactions.
const ROWS_MIN: usize = 100;

impl Work {
    /// Settles what was decided, and stores records whose time has come, as far as no settlement under way
    /// touches their lanes.
    pub(super) fn start_settling(&mut self) {
        while self.settling.len() < SETTLEMENTS_MAX {
            let Some((batch, unstored)) = self.next_settlement() else { return };
            let component = self.worker.handler.current();
            self.settler.policy = component.manifest().retry;
            self.settler.of.behind_dead = component.manifest().behind_dead;
            self.settler.of.dead_letters = component.manifest().dead_letter_topic.clone();
            let of_items = batch.iter().map(|decided| decided.key.lane);
            let fresh = unstored.iter().flat_map(|of| &of.fresh.leases).map(|lease| lease.lane);
            let lanes: BTreeSet<i32> = of_items.chain(fresh).collect();
            self.busy.extend(&lanes);
            let leases = lanes.iter().filter_map(|lane| Some((*lane, self.leases.get(lane)?.clone())));
            let settling = self.settler.clone().settle(leases.collect(), batch, unstored);
            self.settling.push(Box::pin(async move { Ended { lanes, ..settling.await } }));
        }
    }

    fn next_settlement(&mut self) -> Option<(Vec<Decided>, Option<Unstored>)> {
        let mut unstored = self.fresh.take_due(Instant::now(), &self.busy);
        let mut batch = self.next_decided(unstored.as_ref());
        if let Some(unstored) = &mut unstored {
            batch.extend(unstored.take_decided());
            let seqs = unstored.fresh.rows.iter().map(|row| row.message.seq).collect();
            unstored.held = self.queues.to_hold_among(&seqs);
            unstored.running = self.queues.running(&seqs);
            unstored.reread_to = self.queues.reread_to().clone();
        }
        (unstored.is_some() || !batch.is_empty()).then_some((batch, unstored))
    }

    /// Decided messages that have their rows. Of lanes of which records are stored with them all are taken: a
    /// message of a key is settled after those before it.
    fn next_decided(&mut self, unstored: Option<&Unstored>) -> Vec<Decided> {
        let of_unstored: HashSet<i32> =
            unstored.iter().flat_map(|of| &of.fresh.leases).map(|lease| lease.lane).collect();
        let rows_max = match (self.worker.handler.current().manifest().settle, unstored) {
            // Each alone, and records before any of theirs is handled.
            (Settle::Single, Some(_)) => return Vec::new(),
            (Settle::Single, None) => 1,
            (Settle::Bulk, _) => self.worker.config.worker.settle_rows_max,
        };
        // Many are settled in two transactions side by side.
        let free = self.decided.iter().filter(|decided| !self.busy.contains(&decided.key.lane));
        let (mut lanes, mut count) = (HashSet::new(), 0);
        let enough =
            if self.settling.is_empty() { free.clone().count().div_ceil(2).max(ROWS_MIN) } else { rows_max };
        for decided in free {
            if count >= enough && !lanes.contains(&decided.key.lane) {
                continue;
            }
            lanes.insert(decided.key.lane);
            count += 1;
        }
        let mut left = rows_max;
        let (taken, rest) = self.decided.drain(..).partition(|decided| {
            let lane = decided.key.lane;
            let taken = of_unstored.contains(&lane) || (left > 0 && lanes.contains(&lane));
            left = left.saturating_sub(usize::from(taken));
            taken
        });
        self.decided = rest;
        taken
    }

    pub(super) fn settled(&mut self, ended: Ended) {
        for lane in &ended.lanes {
            self.busy.remove(lane);
        }
        let mut emitted = false;
        for fate in ended.fates {
            match fate {
                Fate::Settled(decided) => {
                    if decided.blamed {
                        // Those behind it saw effects that are none.
                        self.void(decided.key);
                    }
                    emitted |= !decided.settlement.outgoing.is_empty();
                    self.ended(decided);
                }
                Fate::Gone(decided) => {
                    self.void(decided.key);
                    self.let_go(&decided);
                }
                Fate::Redo(decided) => {
                    self.void(decided.key);
                    self.redo(decided);
                }
            }
        }
        if emitted {
            self.worker.outbox_wake.notify_one();
        }
        match ended.stored {
            Some(Stored::Done(unstored, duplicates)) => {
                self.fresh.stored(&unstored);
                self.stored(unstored, &duplicates);
            }
            Some(Stored::Postponed { unstored, decided, touched }) => {
                self.fresh.stored(&unstored);
                let (meanwhile, rest): (Vec<_>, Vec<_>) =
                    self.decided.drain(..).partition(|decided| unstored.has(decided.settlement.message.seq));
                self.decided = rest;
                self.fresh.put_back(unstored, decided.into_iter().chain(meanwhile));
                touched.into_iter().for_each(|(lane, counter)| self.pause(lane, counter));
            }
            // What of it is queued goes with its lanes, which are lost.
            Some(Stored::Dropped(unstored)) => {
                self.fresh.stored(&unstored);
                self.queues.inserted_held(&unstored.held);
                self.worker.in_hand.remove(unstored.away);
            }
            None => {}
        }
    }

    /// A message was decided: with its batch where it has no row, else with the next settlement.
    pub(super) fn decide(&mut self, decided: Decided) {
        self.decided.extend(self.fresh.decide(decided));
    }

    pub(super) fn ended(&mut self, decided: Decided) {
        let Some(wait) = wait_of(&decided.settlement.verdict) else {
            self.let_go(&decided);
            return;
        };
        let mut message = Arc::unwrap_or_clone(decided.settlement.message);
        message.deliveries += 1;
        if matches!(decided.settlement.verdict, Verdict::Retry { counted: true, .. }) {
            message.attempts_made += 1;
        }
        self.queues.settled(decided.key, message.seq, false);
        if self.queues.has(decided.key.lane) {
            let entry = Entry::due_at(Arc::new(message), Instant::now() + wait);
            self.queues.requeue(decided.key, entry);
        }
    }

    pub(super) fn let_go(&mut self, decided: &Decided) {
        let left = self.queues.settled(decided.key, decided.settlement.message.seq, true);
        self.worker.in_hand.remove(left);
    }

    /// What was decided on the ground of overtaken state is decided again.
    pub(super) fn void(&mut self, key: Key) {
        self.queues.void(key);
        let (void, valid): (Vec<_>, Vec<_>) = self.decided.drain(..).partition(|decided| decided.key == key);
        self.decided = valid;
        for decided in void.into_iter().chain(self.fresh.undo(key)) {
            self.redo(decided);
        }
    }

    pub(super) fn redo(&mut self, decided: Decided) {
        let message = decided.settlement.message;
        self.queues.settled(decided.key, message.seq, false);
        if self.queues.has(decided.key.lane) {
            self.queues.requeue(decided.key, Entry::due_at(message, Instant::now()));
        }
    }
}
