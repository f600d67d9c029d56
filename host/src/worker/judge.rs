//! Judgement of how a call ended: what is settled.

use std::sync::Arc;

use mailroom_core::handler_machine::command::{EndedBy, How};
use mailroom_core::handler_machine::event::{self, Decision, EndOfCall, Ending, HandedState};
use mailroom_core::handler_machine::version::Version;
use mailroom_core::state::Taken;

use super::calls::{Call, CallResult, Finished};
use crate::db::{DbError, GuestTx};
use crate::message::Message;
use crate::metrics::{CallEnd, HandlerMetrics};
use crate::pipeline::breaker::Sign;
use crate::pipeline::decide::{Budget, Verdict, decide};
use crate::pipeline::outcome::{Called, End, Fault, Outcome, Usage};
use crate::settle::{Effects, StateView};

/// A call's end for the machine, and the transaction that it left open.
pub(super) struct Judged {
    pub(super) end: event::CallEnd<StateView, Effects>,
    pub(super) sql: Option<GuestTx>,
}

/// Judges how a call ended, and records it.
pub(super) fn judge(finished: Finished, handler: &str, metrics: &mut HandlerMetrics) -> Judged {
    let Finished { call: Call { call, message, version, .. }, result } = finished;
    let called = match result {
        CallResult::Called(called) => *called,
        CallResult::RowChanged => {
            let end = event::CallEnd { call, end: EndOfCall::RowChanged, sign: (Sign::None, "".into()) };
            return Judged { end, sql: None };
        }
        CallResult::NotCalled(reason) => {
            let verdict = judged(End::NotCalled(reason), &message, &version);
            return Judged { end: again(call, &verdict, true), sql: None };
        }
    };
    let Called { end, outgoing, mut state, sql, last_output, digest, usage } = called;
    if let Some(end) = CallEnd::of(&end) {
        metrics.called(&message.topic, end, usage);
    }
    let (sign, never_called) = (sign_of(&end), matches!(end, End::NotCalled(_)));
    let verdict = judged(end, &message, &version);
    log(&message, &verdict, (handler, &digest), usage);
    if let Verdict::Again { .. } = verdict {
        return Judged { end: again(call, &verdict, never_called), sql: None };
    }
    let completed = verdict == Verdict::Completed;
    let outgoing = if completed { outgoing } else { Vec::new() };
    // Whatever did not complete has written nothing.
    let taken = state.take(message.seq, !outgoing.is_empty() || sql.is_some());
    // A call that cannot be repeated stands, whatever became of what it read.
    let Taken { reads, writes, .. } = if version.once { taken.unchecked() } else { taken };
    let (ending, wrote_state, has_sql) = (ending_of(&verdict), !writes.is_empty(), sql.is_some());
    let effects = Effects { verdict, digest, outgoing, reads, writes, last_output, usage, refused: false };
    let decision =
        Decision { ending, wrote_state, has_sql, bytes: effects.bytes(), effects: Arc::new(effects) };
    let state = HandedState { bytes: state.bytes(), state };
    let end = event::CallEnd { call, end: EndOfCall::Decided { decision, state }, sign };
    Judged { end, sql }
}

fn again(
    call: mailroom_core::ids::CallId,
    verdict: &Verdict,
    never_called: bool,
) -> event::CallEnd<StateView, Effects> {
    let delay = match verdict {
        Verdict::Again { delay, .. } => *delay,
        Verdict::Completed | Verdict::Skipped { .. } | Verdict::Retry { .. } | Verdict::Dead { .. } => {
            std::time::Duration::ZERO
        }
    };
    event::CallEnd { call, end: EndOfCall::Again { delay, never_called }, sign: (Sign::None, "".into()) }
}

fn judged(end: End, message: &Message, version: &Version) -> Verdict {
    let never_called = matches!(end, End::NotCalled(_));
    let budget = Budget {
        attempts_made: message.attempts_made,
        attempts_max: message.attempts_max,
        deliveries: message.deliveries,
    };
    let verdict = decide(end, budget, &version.retry, fastrand::f64());
    if version.once && !never_called { verdict.at_most_once() } else { verdict }
}

/// Reads from a call's end what it says about the handler, with the fault's words.
fn sign_of(end: &End) -> (Sign, Arc<str>) {
    match end {
        End::Decided(Outcome::Completed | Outcome::Skipped(_) | Outcome::Rejected(_)) => {
            (Sign::Good, "".into())
        }
        End::Faulted(fault) => (Sign::Fault, fault.to_string().into()),
        End::Decided(Outcome::Retry { .. }) | End::Unavailable(_) | End::NotCalled(_) => {
            (Sign::None, "".into())
        }
    }
}

fn ending_of(verdict: &Verdict) -> Ending {
    match verdict {
        Verdict::Completed | Verdict::Skipped { .. } => Ending::Done,
        Verdict::Retry { delay, counted, .. } => Ending::Waits { delay: *delay, counted: *counted },
        Verdict::Dead { reason, .. } => Ending::Dead(*reason),
        // Never decided: the message is as before.
        Verdict::Again { delay, .. } => Ending::Waits { delay: *delay, counted: false },
    }
}

/// Judges a message anew whose effects the database refuses: that is a failure of its handler. `None` where nobody was
/// called for it, or where it is refused without effects too.
pub(super) fn blame(
    message: &Message,
    how: &How<Effects>,
    error: &DbError,
    handler: &str,
) -> Option<Decision<Effects>> {
    let EndedBy::Call(decision) = &how.end else { return None };
    if decision.effects.refused {
        return None;
    }
    let id = message.id;
    tracing::warn!(
        handler.name = handler, message.id = %id, %error,
        "The effects of message {id} are refused by the database"
    );
    let reason = format!("its effects are refused: {error}");
    let verdict = judged(End::Faulted(Fault::BadReply { reason }), message, &how.version);
    let effects = Effects {
        verdict: verdict.clone(),
        outgoing: Vec::new(),
        reads: Vec::new(),
        writes: Vec::new(),
        refused: true,
        ..Effects::clone(&decision.effects)
    };
    let ending = ending_of(&verdict);
    let bytes = effects.bytes();
    Some(Decision { ending, wrote_state: false, has_sql: false, bytes, effects: Arc::new(effects) })
}

fn log(message: &Message, verdict: &Verdict, (handler, digest): (&str, &str), usage: Usage) {
    let (id, attempt) = (message.id, message.attempts_made + 1);
    let (delivery, took) = (message.deliveries + 1, usage.took);
    let Usage { fuel, memory_peak, .. } = usage;
    match verdict {
        Verdict::Completed => {
            tracing::debug!(message.id = %id, handler.name = handler, "Message {id} is done");
        }
        Verdict::Skipped { reason } => {
            tracing::debug!(message.id = %id, handler.name = handler, "Message {id} is skipped: {reason}");
        }
        Verdict::Retry { delay, cause, .. } => tracing::info!(
            message.id = %id, handler.name = handler, handler.digest = digest, attempt, delivery,
            fault = cause.fault, code = cause.code, fuel, memory_peak, ?took,
            "Retrying message {id} in {delay:?}: {}", cause.error
        ),
        Verdict::Dead { reason, cause, .. } => tracing::warn!(
            message.id = %id, handler.name = handler, handler.digest = digest, attempt, delivery,
            fault = cause.fault, code = cause.code, fuel, memory_peak, ?took,
            "Message {id} is dead ({}): {}", reason.as_str(), cause.error
        ),
        Verdict::Again { error, .. } => tracing::debug!(
            message.id = %id, handler.name = handler, "Message {id} waits: {error}"
        ),
    }
}
