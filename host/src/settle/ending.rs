//! Changes that a verdict makes to a row.

use crate::message::{LAST_ERROR_BYTES_MAX, bounded};
use crate::pipeline::decide::Verdict;

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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pipeline::decide::{Cause, DeadReason};

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
