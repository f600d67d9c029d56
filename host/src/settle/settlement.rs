//! Messages that a settlement ends, each with what it leaves, borrowed from the command, and the new values of its row.

use std::borrow::Cow;

use mailroom_core::handler_machine::command::{EndedBy, How, LaneWrite, Settled};
use mailroom_core::ids::{LaneId, Seq};
use mailroom_core::state::{Read, Write};

use super::Effects;
use super::fresh::Record;
use crate::config::BehindDead;
use crate::message::{LAST_ERROR_BYTES_MAX, Message, Outgoing, bounded};
use crate::pipeline::decide::{Cause, Verdict};
use crate::pipeline::outcome::Usage;

/// Lane and `seq` of a row.
pub(super) type Place = (LaneId, Seq);

/// Index in which a message's row is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    Ready,
    Held,
    /// None yet: the settlement makes the row.
    New,
}

/// One delivery to end.
#[derive(Debug)]
pub(super) struct Settlement<'w> {
    pub(super) message: &'w Message,
    pub(super) row: Row,
    pub(super) verdict: Cow<'w, Verdict>,
    /// Digest of the version that ran; `None` where nobody was called.
    pub(super) digest: Option<&'w str>,
    pub(super) outgoing: &'w [Outgoing],
    /// The message before it in its key on which it rests; it may be committed already.
    pub(super) based_on: Option<Seq>,
    /// State that it read and did not write.
    pub(super) reads: &'w [Read],
    pub(super) writes: &'w [Write],
    /// True if its row is held where it waits for its next call.
    pub(super) held: bool,
    pub(super) behind_dead: BehindDead,
    /// The Kafka topic that gets a copy of its dead letter.
    pub(super) dead_letter_topic: Option<&'w str>,
    pub(super) last_output: Option<&'w str>,
    pub(super) usage: Usage,
}

impl<'w> Settlement<'w> {
    /// Reads how a message ends.
    pub(super) fn of(message: &'w Message, row: Row, how: &'w How<Effects>) -> Self {
        let effects = match &how.end {
            EndedBy::Call(decision) => Some(&*decision.effects),
            EndedBy::Host(..) => None,
        };
        Self {
            message,
            row,
            verdict: verdict(how),
            digest: effects.map(|effects| &*effects.digest),
            outgoing: effects.map(|effects| effects.outgoing.as_slice()).unwrap_or_default(),
            based_on: how.based_on,
            reads: effects.map(|effects| effects.reads.as_slice()).unwrap_or_default(),
            writes: effects.map(|effects| effects.writes.as_slice()).unwrap_or_default(),
            held: how.held,
            behind_dead: how.version.behind_dead,
            dead_letter_topic: how.version.dead_letter_topic.as_deref(),
            last_output: effects.and_then(|effects| effects.last_output.as_deref()),
            usage: effects.map(|effects| effects.usage).unwrap_or_default(),
        }
    }

    /// Reads how a message ends that has a row.
    pub(super) fn of_row(settled: &'w Settled<Effects>) -> Self {
        let row = if settled.was_held { Row::Held } else { Row::Ready };
        Self::of(&settled.message, row, &settled.how)
    }

    pub(super) fn place(&self) -> Place {
        (LaneId(self.message.lane), self.seq())
    }

    pub(super) fn seq(&self) -> Seq {
        Seq(self.message.seq)
    }

    /// Gives the new values of its row.
    pub(super) fn ending(&self) -> Ending {
        Ending::of(&self.verdict, self.held)
    }
}

/// Gives all messages that end, by lane and place.
pub(super) fn all<'w>(lanes: &'w [LaneWrite<Effects>], records: &'w [Record<'w>]) -> Vec<Settlement<'w>> {
    let with_rows = lanes.iter().flat_map(|lane| &lane.settled).map(Settlement::of_row);
    let new = records.iter().filter_map(Record::settlement);
    let mut all: Vec<Settlement<'w>> = with_rows.chain(new).collect();
    // Rows are locked in this order, and messages of a key follow each other in it.
    all.sort_by_key(Settlement::place);
    all
}

fn verdict(how: &How<Effects>) -> Cow<'_, Verdict> {
    match &how.end {
        EndedBy::Call(decision) => Cow::Borrowed(&decision.effects.verdict),
        EndedBy::Host(reason, words) => {
            let cause = Cause { error: words.as_ref().to_owned(), ..Cause::default() };
            Cow::Owned(Verdict::Dead { reason: *reason, counted: false, cause })
        }
    }
}

/// A row's new values.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) status: &'static str,
    pub(super) outcome: Option<&'static str>,
    pub(super) outcome_reason: Option<String>,
    pub(super) failed_reason: Option<&'static str>,
    /// Attempts that it costs.
    pub(super) counted: i32,
    pub(super) error: Option<String>,
    /// Seconds until it is due again.
    pub(super) delay: Option<f64>,
    /// True if it waits among the held rows, and is found there by its time.
    pub(super) held: bool,
}

impl Ending {
    /// Nothing was decided.
    pub(super) fn pending() -> Self {
        Self {
            status: "pending",
            outcome: None,
            outcome_reason: None,
            failed_reason: None,
            counted: 0,
            error: None,
            delay: None,
            held: false,
        }
    }

    /// Gives what a verdict makes of a row that is to be `held` where it waits; what has ended waits for nothing.
    pub(super) fn of(verdict: &Verdict, held: bool) -> Self {
        let words = |text: &str| Some(bounded(text, LAST_ERROR_BYTES_MAX));
        let pending = Self::pending();
        match verdict {
            Verdict::Completed => Self { status: "completed", outcome: Some("completed"), ..pending },
            Verdict::Skipped { reason } => Self {
                status: "completed",
                outcome: Some("skipped"),
                outcome_reason: words(reason),
                ..pending
            },
            Verdict::Retry { delay, counted, cause } => Self {
                counted: i32::from(*counted),
                error: words(&cause.error),
                delay: Some(delay.as_secs_f64()),
                held,
                ..pending
            },
            Verdict::Dead { reason, counted, cause } => Self {
                status: "failed",
                failed_reason: Some(reason.as_str()),
                counted: i32::from(*counted),
                error: words(&cause.error),
                ..pending
            },
            // Never offered to settle; pending without a change would be true of it.
            Verdict::Again { error, .. } => Self { error: words(error), ..pending },
        }
    }
}

#[cfg(test)]
impl<'w> Settlement<'w> {
    /// A message with a ready row that completed and left nothing.
    pub(super) fn completed(message: &'w Message) -> Self {
        Self {
            message,
            row: Row::Ready,
            verdict: Cow::Owned(Verdict::Completed),
            digest: None,
            outgoing: &[],
            based_on: None,
            reads: &[],
            writes: &[],
            held: false,
            behind_dead: BehindDead::Skip,
            dead_letter_topic: None,
            last_output: None,
            usage: Usage::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pipeline::decide::DeadReason;

    #[test]
    fn only_what_waits_is_held() {
        let cause = Cause { error: "no".to_owned(), ..Cause::default() };
        let retry = Verdict::Retry { delay: Duration::from_secs(9), counted: true, cause: cause.clone() };
        let dead = Verdict::Dead { reason: DeadReason::Exhausted, counted: true, cause };
        assert!(Ending::of(&retry, true).held);
        assert!(!Ending::of(&retry, false).held);
        assert!(!Ending::of(&dead, true).held, "inbox_held_is_pending");
        assert!(!Ending::of(&Verdict::Completed, true).held, "inbox_held_is_pending");
    }
}
