//! What a verdict makes of a row.

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
        }
    }

    pub(super) fn of(verdict: &Verdict) -> Self {
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
