//! Facts that a handler's machine needs of the version that it calls.

use std::sync::Arc;
use std::time::Duration;

use crate::verdict::{BehindDead, BreakerPolicy, RetryPolicy};

/// A version of a handler and its manifest. One snapshot goes with a call from its start to its settlement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    /// Number of the version in this process.
    pub id: u64,
    /// The most calls at once.
    pub concurrency: usize,
    /// The longest a call takes.
    pub deadline: Duration,
    /// Rule by which the breaker opens.
    pub breaker: BreakerPolicy,
    /// Rule by which a failed message is tried again.
    pub retry: RetryPolicy,
    /// Effect of a dead message on its key.
    pub behind_dead: BehindDead,
    /// True if a message is handed over at most once.
    pub once: bool,
    /// True if each message is settled alone.
    pub single: bool,
    /// True if records are stored before they are called.
    pub stored_first: bool,
    /// The Kafka topic that gets copies of dead letters.
    pub dead_letter_topic: Option<Arc<str>>,
}
