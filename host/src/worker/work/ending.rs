//! Settling what was decided, and what follows from it.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::Work;
use crate::pipeline::decide::Verdict;
use crate::worker::entry::{Entry, Key};
use crate::worker::settling::{Decided, Fate, wait_of};

impl Work {
    pub(super) fn start_settling(&mut self) {
        if self.settling.is_some() || self.decided.is_empty() {
            return;
        }
        let rows_max = self.worker.config.worker.settle_rows_max;
        let batch: Vec<Decided> = self.decided.drain(..self.decided.len().min(rows_max)).collect();
        let lanes: BTreeSet<i32> = batch.iter().map(|decided| decided.key.lane).collect();
        let leases = lanes.iter().filter_map(|lane| Some((*lane, self.leases.get(lane)?.clone()))).collect();
        let component = self.worker.handler.current();
        self.settler.policy = component.manifest().retry;
        self.settler.of.behind_dead = component.manifest().behind_dead;
        self.settler.of.dead_letters = component.manifest().dead_letter_topic.clone();
        self.settling = Some(Box::pin(self.settler.clone().settle(leases, batch)));
    }

    pub(super) fn settled(&mut self, fates: Vec<Fate>) {
        self.settling = None;
        let mut emitted = false;
        for fate in fates {
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
    }

    pub(super) fn ended(&mut self, decided: Decided) {
        let Some(wait) = wait_of(&decided.settlement.verdict) else {
            self.let_go(&decided);
            return;
        };
        let mut message = decided.settlement.message;
        message.deliveries += 1;
        if matches!(decided.settlement.verdict, Verdict::Retry { counted: true, .. }) {
            message.attempts_made += 1;
        }
        self.queues.settled(decided.key, message.seq, false);
        if self.queues.has(decided.key.lane) {
            self.queues.requeue(decided.key, Entry { message, due: Instant::now() + wait, nonsense: None });
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
        for decided in void {
            self.redo(decided);
        }
    }

    pub(super) fn redo(&mut self, decided: Decided) {
        let message = decided.settlement.message;
        self.queues.settled(decided.key, message.seq, false);
        if self.queues.has(decided.key.lane) {
            self.queues.requeue(decided.key, Entry { message, due: Instant::now(), nonsense: None });
        }
    }
}
