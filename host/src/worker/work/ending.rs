//! Settling what was decided, and what follows from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::Work;
use crate::config::Settle;
use crate::pipeline::decide::Verdict;
use crate::worker::entry::{Entry, Key};
use crate::worker::settling::{Decided, Ended, Fate, Stored, wait_of};

impl Work {
    pub(super) fn start_settling(&mut self) {
        if self.settling.is_some() {
            return;
        }
        let component = self.worker.handler.current();
        let manifest = component.manifest();
        let rows_max = match manifest.settle {
            Settle::Bulk => self.worker.config.worker.settle_rows_max,
            Settle::Single => 1,
        };
        // What was decided before goes with it: a message of a key is settled after those before it.
        let all = self.decided.len() <= rows_max;
        let mut unstored = if all { self.fresh.pop_due(Instant::now()) } else { None };
        if unstored.is_none() && self.decided.is_empty() {
            return;
        }
        let mut batch: Vec<Decided> = self.decided.drain(..self.decided.len().min(rows_max)).collect();
        if let Some(unstored) = &mut unstored {
            batch.extend(unstored.take_decided());
            let seqs = unstored.fresh.rows.iter().map(|row| row.message.seq).collect();
            unstored.held = self.queues.to_hold_among(&seqs);
            unstored.reread_to = self.queues.reread_to().clone();
        }
        let lanes: BTreeSet<i32> = batch.iter().map(|decided| decided.key.lane).collect();
        let leases = lanes.iter().filter_map(|lane| Some((*lane, self.leases.get(lane)?.clone()))).collect();
        self.settler.policy = manifest.retry;
        self.settler.of.behind_dead = manifest.behind_dead;
        self.settling = Some(Box::pin(self.settler.clone().settle(leases, batch, unstored)));
    }

    pub(super) fn settled(&mut self, ended: Ended) {
        self.settling = None;
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
            Some(Stored::Done(unstored, duplicates)) => self.stored(unstored, &duplicates),
            Some(Stored::Postponed { unstored, decided, touched }) => {
                self.fresh.put_back(unstored, decided);
                touched.into_iter().for_each(|(lane, counter)| self.pause(lane, counter));
            }
            // What of it is queued goes with its lanes, which are lost.
            Some(Stored::Dropped(unstored)) => {
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
