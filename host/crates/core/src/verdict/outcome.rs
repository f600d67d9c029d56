//! Ends that a call can have. No `_ =>` on these: a new ending must break the build.

use std::time::Duration;

use crate::message::{LAST_ERROR_BYTES_MAX, bounded};

/// Decision of a handler about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; its effects commit with the message.
    Completed,
    /// The message is tried again later.
    Retry {
        /// Reason, for `last_error`.
        reason: String,
        /// The handler's own wish; else the backoff decides.
        after: Option<Duration>,
        /// True if it costs an attempt.
        counts: bool,
    },
    /// Nothing to do; settled as completed with this reason, without effects.
    Skipped(String),
    /// The message can never succeed: dead at once, with this reason.
    Rejected(String),
}

/// Failure inside a guest. Each kind has its own name in dead letters and metrics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The guest computed more than its budget.
    #[error("used up its {limit} units of fuel")]
    OutOfFuel {
        /// The budget, in units of fuel.
        limit: u64,
        /// The guest's backtrace.
        backtrace: String,
    },
    /// The call took longer than its deadline, computing or waiting.
    #[error("ran past its deadline of {}{}", humantime::format_duration(*limit), waited(awaited.as_deref()))]
    Deadline {
        /// The deadline, in wall-clock time.
        limit: Duration,
        /// The guest's backtrace; empty where it waited in the host.
        backtrace: String,
        /// Wait outside of the host that was under way.
        awaited: Option<String>,
    },
    /// The guest wanted more memory than its limit and could not go on without.
    #[error("wanted more than its {limit} bytes of memory")]
    Memory {
        /// The limit in bytes.
        limit: u64,
        /// The guest's backtrace; empty where it had not begun.
        backtrace: String,
    },
    /// The guest wanted a larger table than its limit and could not go on without.
    #[error("wanted a table of more than {limit} elements, limits.table-elements")]
    Table {
        /// The limit in elements.
        limit: u64,
        /// The guest's backtrace; empty where it had not begun.
        backtrace: String,
    },
    /// A host call, or the reply, would have cost the host too much memory of its own.
    #[error("made the host copy more than {limit} bytes at once, four times limits.output-bytes")]
    HostMemory {
        /// The limit in bytes.
        limit: u64,
        /// The guest's backtrace; empty where it was the reply.
        backtrace: String,
    },
    /// The guest logged more lines than its limit.
    #[error("logged more than {limit} lines, limits.log-lines")]
    LogLines {
        /// The limit in lines.
        limit: u32,
        /// The guest's backtrace.
        backtrace: String,
    },
    /// The guest's stack overflowed.
    #[error("overflowed its stack, limits.stack")]
    Stack {
        /// The guest's backtrace.
        backtrace: String,
    },
    /// The guest trapped: a panic, an uncaught exception, a bad instruction.
    #[error("trapped: {reason}")]
    Trap {
        /// The trap, or the panic's own words where it wrote some.
        reason: String,
        /// The guest's backtrace.
        backtrace: String,
    },
    /// The reply cannot be read, or its effects cannot be written.
    #[error("gave a bad reply: {reason}")]
    BadReply {
        /// Description of the defect.
        reason: String,
    },
    /// The handler completed although a statement of its SQL had failed, and its transaction with it.
    #[error("completed although its SQL had failed: {reason}")]
    Sql {
        /// The first statement's error.
        reason: String,
    },
    /// The handler returned an error of its own.
    #[error("{message}")]
    Failed {
        /// The handler's words.
        message: String,
        /// Stable name, by which dead letters are grouped.
        code: Option<String>,
        /// Stack or causes.
        detail: Option<String>,
    },
}

impl Fault {
    /// Tells whether the handler reported the failure itself.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    /// The stable name of this kind of fault.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::OutOfFuel { .. } => "out-of-fuel",
            Self::Deadline { .. } => "deadline",
            Self::Memory { .. } => "memory",
            Self::Table { .. } => "table",
            Self::HostMemory { .. } => "host-memory",
            Self::LogLines { .. } => "log-lines",
            Self::Stack { .. } => "stack",
            Self::Trap { .. } => "trap",
            Self::BadReply { .. } => "bad-reply",
            Self::Sql { .. } => "sql",
            Self::Failed { .. } => "failure",
        }
    }

    /// Tells what the host had refused before, since that is often why.
    #[must_use]
    pub fn after(mut self, refused: &str) -> Self {
        let words = match &mut self {
            Self::Trap { reason, .. } | Self::BadReply { reason } => reason,
            Self::Failed { message, .. } => message,
            Self::OutOfFuel { .. }
            | Self::Deadline { .. }
            | Self::Memory { .. }
            | Self::Table { .. }
            | Self::HostMemory { .. }
            | Self::LogLines { .. }
            | Self::Stack { .. }
            | Self::Sql { .. } => return self,
        };
        let before = format!("; before that the host refused {refused}");
        // A row says "trapped: " before it.
        let room = LAST_ERROR_BYTES_MAX.saturating_sub(before.len() + 40);
        *words = format!("{}{before}", bounded(words, room));
        self
    }
}

fn waited(awaited: Option<&str>) -> String {
    awaited.map_or_else(String::new, |awaited| format!(" while it waited for {awaited}"))
}

/// End of one call.
#[derive(Debug)]
pub enum End {
    /// The handler decided.
    Decided(Outcome),
    /// Something went wrong inside the guest; counted.
    Faulted(Fault),
    /// Something outside the guest was away (Postgres, a full pool); the message waits, uncounted.
    Unavailable(String),
    /// The handler was not called (a full pool); the message waits, uncounted.
    NotCalled(String),
}

/// Cost of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Units of fuel.
    pub fuel: u64,
    /// The most memory the guest held, in bytes.
    pub memory_peak: u64,
    /// Wall-clock time.
    pub took: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::words_of;

    #[test]
    fn the_page_of_errors_has_every_kind_of_fault() {
        let page = include_str!("../../../../../docs/errors.md");
        let (_, page) = page.split_once("\n### Faults\n").unwrap();
        let kinds = words_of(include_str!("outcome.rs"), "kind");
        assert!(kinds.len() > 10 && kinds.contains(&"failure"), "{kinds:?}");
        for kind in kinds {
            assert!(page.contains(&format!("\n| `{kind}` | ")), "{kind}");
        }
    }

    #[test]
    fn what_was_refused_before_is_told_however_long_the_words_are() {
        let refused = "its effect number 4, limits.effects = 3";
        for words in ["no".to_owned(), "x".repeat(2 * LAST_ERROR_BYTES_MAX)] {
            let trap = Fault::Trap { reason: words, backtrace: String::new() }.after(refused).to_string();
            assert!(trap.ends_with(&format!("; before that the host refused {refused}")), "{trap}");
            assert!(trap.len() <= LAST_ERROR_BYTES_MAX, "{}", trap.len());
        }
    }
}
