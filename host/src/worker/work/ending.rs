//! Settling what was decided, and what follows from it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::{SETTLE_APART, SETTLEMENTS_MAX, Work};
use crate::config::Settle;
use crate::pipeline::crashes::runs_alone;
use crate::pipeline::decide::Verdict;
use crate::worker::decisions::Share;
use crate::worker::entry::{Entry, Key};
use crate::worker::fresh::{Storing, Unstored};
use crate::worker::settling::{Decided, Ended, Fate, Stored, wait_of};

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
            let fresh = unstored.iter().flat_map(Storing::lanes);
            let lanes: BTreeSet<i32> = of_items.chain(fresh).collect();
            self.busy.extend(&lanes);
            self.settle_apart = Instant::now() + SETTLE_APART;
            let leases = lanes.iter().filter_map(|lane| Some((*lane, self.leases.get(lane)?.clone())));
            let settling = self.settler.clone().settle(leases.collect(), batch, unstored);
            self.settling.push(Box::pin(async move { Ended { lanes, ..settling.await } }));
        }
    }

    fn next_settlement(&mut self) -> Option<(Vec<Decided>, Option<Storing>)> {
        let (now, rows_max) = (Instant::now(), self.worker.config.worker.settle_rows_max);
        if !self.settling.is_empty() && now < self.settle_apart && self.has_few(now) {
            return None;
        }
        // Many are settled in transactions side by side.
        let share = Share { rows_max, half: self.settling.is_empty() };
        let mut due = self.fresh.take_due(now, &self.busy, share);
        let mut batch = self.next_decided(&due, share);
        if due.is_empty() {
            return (!batch.is_empty()).then_some((batch, None));
        }
        batch.extend(due.iter_mut().flat_map(Unstored::take_decided));
        let seqs = due.iter().flat_map(|of| &of.fresh.rows).map(|row| row.message.seq).collect();
        let storing = Storing {
            held: self.queues.to_hold_among(&seqs),
            running: self.queues.running(&seqs),
            reread_to: self.queues.reread_to().clone(),
            lanes: due,
        };
        Some((batch, Some(storing)))
    }

    /// Whether it is not yet worth a transaction beside those under way.
    fn has_few(&self, now: Instant) -> bool {
        let component = self.worker.handler.current();
        let enough = match component.manifest().settle {
            Settle::Single => 1,
            Settle::Bulk => self.worker.config.worker.settle_rows_max / 2,
        };
        self.fresh.due(now, &self.busy) + self.decided.free(&self.busy) < enough
    }

    /// Decided messages that have their rows. Of lanes of which records are stored with them all are taken: a
    /// message of a key is settled after those before it.
    fn next_decided(&mut self, due: &[Unstored], share: Share) -> Vec<Decided> {
        let of_due: HashSet<i32> = due.iter().map(Unstored::lane).collect();
        let share = match (self.worker.handler.current().manifest().settle, of_due.is_empty()) {
            // Each alone, and records before any of theirs is handled.
            (Settle::Single, false) => return Vec::new(),
            (Settle::Single, true) => Share { rows_max: 1, half: false },
            (Settle::Bulk, _) => share,
        };
        self.decided.take(&of_due, &self.busy, share)
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
                    self.block_behind(decided.key, &decided.settlement.verdict, true);
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
        ended.stored.into_iter().for_each(|stored| self.ended_storing(stored));
    }

    fn ended_storing(&mut self, stored: Stored) {
        match stored {
            Stored::Done { storing, duplicates } => {
                self.queues.inserted_held(&storing.held);
                if !duplicates.is_empty() {
                    let handler = &self.settler.of.handler;
                    tracing::debug!(handler.name = %handler, "{} messages were here already", duplicates.len());
                }
                for unstored in storing.lanes {
                    self.fresh.stored(unstored.lane());
                    self.stored(unstored, &duplicates);
                }
            }
            Stored::Postponed { storing, mut decided, touched } => {
                for unstored in storing.lanes {
                    let lane = unstored.lane();
                    self.fresh.stored(lane);
                    let mut of_lane: Vec<Decided> =
                        decided.extract_if(.., |decided| decided.key.lane == lane).collect();
                    of_lane.extend(
                        self.decided.take_if(lane, |decided| unstored.has(decided.settlement.message.seq)),
                    );
                    self.fresh.put_back(unstored, of_lane);
                }
                touched.into_iter().for_each(|(lane, counter)| self.pause(lane, counter));
            }
            // What of it is queued goes with its lane, which is lost.
            Stored::Dropped(unstored) => {
                self.fresh.stored(unstored.lane());
                self.worker.in_hand.remove(unstored.away);
            }
        }
    }

    /// A message was decided: with its batch where it has no row, else with the next settlement.
    pub(super) fn decide(&mut self, mut decided: Decided) {
        if let Some(tx) = decided.settlement.sql.take() {
            let (settler, host) = (self.settler.clone(), self.worker.session.id);
            let lease = self.leases.get(&decided.key.lane).cloned();
            self.settling.push(Box::pin(settler.settle_with_sql(host, lease, decided, tx)));
            return;
        }
        if let Some(decided) = self.fresh.decide(decided) {
            self.decided.push(decided);
        }
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
        if runs_alone(message.crashes) {
            // As its row says now: whoever ran alone and came back kills nobody.
            message.crashes = 0;
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

    /// What was decided on the ground of overtaken state is decided again, but for what cannot be called again.
    pub(super) fn void(&mut self, key: Key) {
        self.queues.void(key);
        for decided in self.decided.take_repeatable(key).into_iter().chain(self.fresh.undo(key)) {
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
