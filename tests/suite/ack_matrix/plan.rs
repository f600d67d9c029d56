//! Messages of a cell, and what is there of each once it has ended.

use serde_json::Value;

/// A message, and how it is to end.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) key: String,
    /// Words of its script beyond those of every message.
    pub(super) script: Value,
    pub(super) end: End,
}

impl Planned {
    /// Plans a message with a key of its own.
    pub(super) fn new(name: impl Into<String>, script: Value, end: End) -> Self {
        let name = name.into();
        Self { key: name.clone(), name, script, end }
    }

    /// Puts it under the key of another message.
    pub(super) fn behind(self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self }
    }
}

/// End of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Completed, after so many failures.
    Completed { failures: i32 },
    /// Skipped at its first call.
    Skipped,
    /// Dead at its first call, by its handler's word.
    Rejected,
    /// Dead after so many failures, the last of them of this kind.
    Exhausted { failures: i32, fault: Option<&'static str> },
    /// Dead, since it may be handed over once, was, and its end is lost.
    Interrupted,
    /// No end yet, after so many failures.
    Pending { failures: i32 },
}

/// Completed at its first call.
pub(super) const DONE: End = End::Completed { failures: 0 };

impl End {
    /// Calls that ended, the one without a known end included.
    pub(super) fn deliveries(self) -> i32 {
        match self {
            Self::Completed { failures } => failures + 1,
            Self::Skipped | Self::Rejected | Self::Interrupted => 1,
            Self::Exhausted { failures, .. } | Self::Pending { failures } => failures,
        }
    }

    /// Attempts that it cost.
    fn failures(self) -> i32 {
        match self {
            Self::Completed { failures } | Self::Exhausted { failures, .. } | Self::Pending { failures } => {
                failures
            }
            Self::Skipped | Self::Rejected | Self::Interrupted => 0,
        }
    }

    /// Status, outcome and reason of the failure in its row.
    fn words(self) -> (&'static str, Option<&'static str>, Option<&'static str>) {
        match self {
            Self::Completed { .. } => ("completed", Some("completed"), None),
            Self::Skipped => ("completed", Some("skipped"), None),
            Self::Rejected => ("failed", None, Some("rejected")),
            Self::Exhausted { .. } => ("failed", None, Some("exhausted")),
            Self::Interrupted => ("failed", None, Some("interrupted")),
            Self::Pending { .. } => ("pending", None, None),
        }
    }

    /// Reason, fault and attempts in its dead letter.
    fn letter(self) -> Option<String> {
        let (_, _, reason) = self.words();
        let fault = if let Self::Exhausted { fault, .. } = self { fault } else { None };
        let fault = fault.map_or_else(String::new, |fault| format!(" {fault}"));
        reason.map(|reason| format!("{reason}{fault} {}", self.failures()))
    }
}

/// Everything that a message leaves in Postgres.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Row {
    message_id: String,
    status: String,
    outcome: Option<String>,
    failed_reason: Option<String>,
    attempts_made: i32,
    /// Deliveries without those that were lost with their hosts.
    deliveries: i32,
    letter: Option<String>,
    /// Records of calls that failed.
    failed_calls: i64,
    emitted: i64,
}

/// The rows of a consumer group; a message with two letters is there twice.
pub(super) const ROWS: &str = "
    select i.message_id, i.status, i.outcome, i.failed_reason, i.attempts_made,
           i.deliveries - i.crashes as deliveries,
           d.reason || coalesce(' ' || d.fault, '') || ' ' || d.attempts as letter,
           (select count(*) from mailroom.attempt a where a.lane = i.lane and a.seq = i.seq) as failed_calls,
           (select count(*) from mailroom.outbox o where o.causation_id = i.message_id) as emitted
      from mailroom.inbox i
      left join mailroom.dead_letter d on d.origin = 'inbox' and d.lane = i.lane and d.seq = i.seq
     where i.consumer_group = $1 order by i.\"offset\"";

impl Row {
    /// Gives the row of a message with this end.
    pub(super) fn of(message_id: String, end: End) -> Self {
        let (status, outcome, failed_reason) = end.words();
        // A rejection costs no attempt, and is written down all the same.
        let failed_calls = if end == End::Rejected { 1 } else { end.failures() };
        Self {
            message_id,
            status: status.to_owned(),
            outcome: outcome.map(str::to_owned),
            failed_reason: failed_reason.map(str::to_owned),
            attempts_made: end.failures(),
            deliveries: end.deliveries(),
            letter: end.letter(),
            failed_calls: i64::from(failed_calls),
            emitted: i64::from(matches!(end, End::Completed { .. })),
        }
    }
}
