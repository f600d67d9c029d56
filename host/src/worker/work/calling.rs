//! Starting calls, and judging how they ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Work;
use mailroom_core::state::Taken;
use mailroom_core::verdict::Blocking;

use crate::config::BreakerPolicy;
use crate::message::Message;
use crate::pipeline::crashes::killed_its_process;
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
                Next::Started(started) => *started,
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
                self.tell_uncalled(&started.entry.message, &verdict);
                self.block_behind(started.key, &verdict, false);
                let (key, call) = (started.key, started.call);
                let state = started.state.unwrap_or_else(|| self.view(&started.entry));
                if self.queues.ended(key, call) == Worth::Valid {
                    self.queues.decided(key, state, false);
                    self.decide(Decided::new(key, uncalled(started.entry, verdict)));
                }
                continue;
            }
            let fresh = self.view(&started.entry);
            // What is queued is of a lane that is ours.
            let Some(token) = self.leases.get(&lane).map(|lease| lease.token) else { continue };
            self.calls.start(Arc::clone(&component), token, started, fresh);
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
        let Called { key, call, message, outcome, keeps_state } = called;
        match self.queues.ended(key, call) {
            Worth::Gone => return,
            // What cannot be called again counts as it ended.
            Worth::Void if !message.begun => {
                self.queues.requeue(key, Entry::due_at(message, Instant::now()));
                return;
            }
            Worth::Valid | Worth::Void => {}
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
            if keeps_state {
                self.queues.keep(key, state);
            }
            self.queues.requeue(key, Entry::due_at(message, Instant::now() + delay));
            return;
        }
        let completed = verdict == Verdict::Completed;
        let outgoing = if completed { outgoing } else { Vec::new() };
        // Whatever did not complete has written nothing.
        let taken = state.take(message.seq, !outgoing.is_empty() || sql.is_some());
        // A call that cannot be repeated stands, whatever became of what it read.
        let Taken { based_on, reads, writes } = if message.begun { taken.unchecked() } else { taken };
        // What SQL wrote is seen by nobody before it is committed, and commits on its own: nothing of its key may be
        // on the way beside it. Nor beside what cannot be called again if those before it fall.
        let apart = component.manifest().grants.sql.is_some() || message.begun;
        let waits = matches!(verdict, Verdict::Retry { .. }) || apart;
        self.block_behind(key, &verdict, false);
        self.queues.decided(key, state, waits);
        let settlement = Settlement {
            message,
            verdict,
            digest: Some(digest),
            outgoing,
            based_on,
            reads,
            writes,
            sql,
            last_output,
            usage,
        };
        self.decide(Decided::new(key, settlement));
    }

    /// Behind a dead message the key goes on only where the handler lets it, from the decision on; once the death is
    /// `written`, only an operator lets it go.
    pub(super) fn block_behind(&mut self, key: Key, verdict: &Verdict, written: bool) {
        let policy = self.worker.handler.current().manifest().behind_dead;
        let Verdict::Dead { reason, .. } = verdict else { return };
        let Some(blocking) = reason.blocks(policy) else { return };
        if matches!(key.order, Order::Key(_)) && self.queues.has(key.lane) {
            self.queues.block(key, blocking == Blocking::Park, written);
        }
    }

    /// What dies without a call says so where it may have run before.
    fn tell_uncalled(&self, message: &Message, verdict: &Verdict) {
        let Verdict::Dead { reason, cause, .. } = verdict else { return };
        if matches!(reason, DeadReason::CrashLoop | DeadReason::Interrupted) {
            tracing::warn!(
                message.id = %message.id, handler.name = %self.settler.of.handler,
                "Message {} is dead ({}): {}", message.id, reason.as_str(), cause.error
            );
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
    let message = &started.entry.message;
    match &started.entry.nonsense {
        Some(reason) => dead(DeadReason::Quarantined, reason),
        None if started.parked => dead(DeadReason::Parked, "an earlier message of its key is dead"),
        None if message.begun => Some(Verdict::interrupted(
            "it was begun, and how it ended is not known; its handler takes it at most once".to_owned(),
        )),
        None if killed_its_process(message.crashes) => {
            dead(DeadReason::CrashLoop, "its process died while it ran alone")
        }
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
        based_on: None,
        reads: Vec::new(),
        writes: Vec::new(),
        sql: None,
        last_output: None,
        usage: Usage::default(),
    }
}
