//! Starting calls, and judging how they ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Work;
use crate::config::{BehindDead, BreakerPolicy};
use crate::message::Message;
use crate::pipeline::decide::{Budget, Cause, DeadReason, Verdict, decide};
use crate::pipeline::outcome::{self as pipeline, Usage};
use crate::settle::{Settlement, StateView};
use crate::worker::call::Called;
use crate::worker::entry::{Entry, Key, Order};
use crate::worker::queues::{Next, Started, Worth};
use crate::worker::settling::Decided;

/// A call must end this much before the host's own expiry, so that its settlement is still ours.
const SETTLE_MARGIN: Duration = Duration::from_millis(200);

impl Work {
    pub(super) fn start_calls(&mut self) {
        self.start_ready();
        self.calls.go();
    }

    fn start_ready(&mut self) {
        if self.stopping {
            return;
        }
        let component = self.worker.handler.current();
        let manifest = component.manifest();
        // A call that could outlast this host's expiry might settle into another's lane.
        if !self.worker.session.outlasts(manifest.limits.deadline + SETTLE_MARGIN) {
            return;
        }
        let policy = manifest.breaker;
        self.caution.tell(policy, self.queues.has_ready());
        while self.calls.len() < manifest.concurrency && self.caution.room(policy, self.calls.len()) > 0 {
            let started = match self
                .queues
                .start(|lane, seq| self.begun.has(lane, seq) || !self.fresh.has_row(lane, seq))
            {
                Next::Started(started) => started,
                Next::Unnoted => return self.note_begun(manifest.concurrency),
                Next::Nothing => return,
            };
            let (lane, seq) = (started.key.lane, started.entry.message.seq);
            if !self.fresh.has_row(lane, seq) {
                self.fresh.starts(lane, seq);
            } else if self.begun.starts() {
                self.note_begun(manifest.concurrency);
            }
            if let Some(verdict) = without_call(&started) {
                self.block_behind(started.key, &verdict);
                let (key, call) = (started.key, started.call);
                let state = started.state.unwrap_or_else(|| self.view(&started.entry));
                if self.queues.ended(key, call) == Worth::Valid {
                    self.queues.decided(key, state, false);
                    self.decide(Decided::new(key, uncalled(started.entry, verdict)));
                }
                continue;
            }
            let fresh = self.view(&started.entry);
            self.calls.start(Arc::clone(&component), started, fresh);
        }
    }

    pub(super) fn breaker_policy(&self) -> BreakerPolicy {
        self.worker.handler.current().manifest().breaker
    }

    pub(super) fn view(&self, entry: &Entry) -> StateView {
        let group = Arc::clone(&self.worker.handler.group);
        StateView::new(Some(self.worker.db.clone()), group, entry.message.key.clone())
    }

    pub(super) fn called(&mut self, called: Called) {
        let Called { key, call, message, outcome } = called;
        match self.queues.ended(key, call) {
            Worth::Gone => return,
            Worth::Void => {
                self.queues.requeue(key, Entry::due_at(message, Instant::now()));
                return;
            }
            Worth::Valid => {}
        }
        let pipeline::Called { end, outgoing, mut state, sql, last_output, digest, usage } = outcome;
        let budget = Budget {
            attempts_made: message.attempts_made,
            attempts_max: message.attempts_max,
            deliveries: message.deliveries,
        };
        self.caution.ended(&end, self.breaker_policy());
        let component = self.worker.handler.current();
        let verdict = decide(end, budget, &component.manifest().retry, fastrand::f64());
        let verdict = if message.begun { verdict.at_most_once() } else { verdict };
        self.tell(&message, &verdict, &digest, usage);
        if let Verdict::Again { delay, .. } = verdict {
            // As it was before the call: with what earlier messages of the key wrote.
            self.queues.keep(key, state);
            self.queues.requeue(key, Entry::due_at(message, Instant::now() + delay));
            return;
        }
        let completed = verdict == Verdict::Completed;
        let writes = if completed { state.take_writes() } else { Vec::new() };
        let outgoing = if completed { outgoing } else { Vec::new() };
        // What SQL wrote is seen by nobody before it is committed.
        let waits = matches!(verdict, Verdict::Retry { .. }) || sql.is_some();
        self.block_behind(key, &verdict);
        self.queues.decided(key, state, waits);
        let digest = Some(digest);
        let settlement = Settlement { message, verdict, digest, outgoing, writes, sql, last_output, usage };
        self.decide(Decided::new(key, settlement));
    }

    /// Behind a dead message the key goes on only where the handler lets it.
    pub(super) fn block_behind(&mut self, key: Key, verdict: &Verdict) {
        let policy = self.worker.handler.current().manifest().behind_dead;
        let dies = matches!(verdict, Verdict::Dead { reason, .. } if *reason != DeadReason::Parked);
        if dies && policy != BehindDead::Skip && matches!(key.order, Order::Key(_)) {
            self.queues.block(key, policy == BehindDead::Park);
        }
    }

    fn tell(&self, message: &Message, verdict: &Verdict, digest: &str, usage: Usage) {
        let (id, handler, attempt) = (message.id, &self.settler.of.handler, message.attempts_made + 1);
        let (delivery, took) = (message.deliveries + 1, usage.took);
        let Usage { fuel, memory_peak, .. } = usage;
        match verdict {
            Verdict::Completed => {
                tracing::debug!(message.id = %id, handler.name = %handler, "Message {id} is done")
            }
            Verdict::Skipped { reason } => {
                tracing::debug!(message.id = %id, handler.name = %handler, "Message {id} is skipped: {reason}");
            }
            Verdict::Retry { delay, cause, .. } => tracing::info!(
                message.id = %id, handler.name = %handler, handler.digest = digest, attempt, delivery,
                fault = cause.fault, code = cause.code, fuel, memory_peak, ?took,
                "Retrying message {id} in {delay:?}: {}", cause.error
            ),
            Verdict::Dead { reason, cause, .. } => tracing::warn!(
                message.id = %id, handler.name = %handler, handler.digest = digest, attempt, delivery,
                fault = cause.fault, code = cause.code, fuel, memory_peak, ?took,
                "Message {id} is dead ({}): {}", reason.as_str(), cause.error
            ),
            Verdict::Again { error, .. } => tracing::debug!(
                message.id = %id, handler.name = %handler, "Message {id} waits: {error}"
            ),
        }
    }
}

/// The verdict on a message that is not handed to anybody.
fn without_call(started: &Started) -> Option<Verdict> {
    let dead = |reason, error: &str| {
        let cause = Cause { error: error.to_owned(), ..Cause::default() };
        Some(Verdict::Dead { reason, counted: false, cause })
    };
    match &started.entry.nonsense {
        Some(reason) => dead(DeadReason::Quarantined, reason),
        None if started.parked => dead(DeadReason::Parked, "an earlier message of its key is dead"),
        None if started.entry.message.begun => Some(Verdict::Skipped {
            reason: "it was begun before and did not end, and its handler takes it at most once".to_owned(),
        }),
        None => None,
    }
}

/// A message that nobody is called for.
fn uncalled(entry: Entry, verdict: Verdict) -> Settlement {
    Settlement {
        message: entry.message,
        verdict,
        digest: None,
        outgoing: Vec::new(),
        writes: Vec::new(),
        sql: None,
        last_output: None,
        usage: Usage::default(),
    }
}
