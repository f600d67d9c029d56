//! Policies of a handler's manifest: retries, order and breaker.

use std::time::Duration;

/// Guarantee about how often a message may be handed to its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// Calls are repeated until one is settled; the effects in Postgres are there once.
    ExactlyOnce,
    /// The same; the handler has effects of its own, which it may repeat.
    AtLeastOnce,
    /// Once, whatever becomes of it: a call that was lost with its host is not repeated.
    AtMostOnce,
}

/// Rule by which a failed message is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RetryPolicy {
    /// Counted failures after which a message is dead.
    pub attempts_max: u32,
    /// The longest wait after the first failure; it doubles with each.
    pub base: Duration,
    /// The longest wait of all.
    pub cap: Duration,
}

impl RetryPolicy {
    /// Policy where nobody says otherwise.
    pub const DEFAULT: Self =
        Self { attempts_max: 6, base: Duration::from_secs(10), cap: Duration::from_secs(3600) };
}

/// Fate of a key's later messages once one of them is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BehindDead {
    /// Later messages go on.
    Skip,
    /// Later messages wait until the dead letter is replayed or discarded.
    Block,
    /// Later messages become dead letters, until the first one is replayed or discarded.
    Park,
}

/// Rule by which a handler's circuit breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BreakerPolicy {
    /// Consecutive faults that open it. No more calls than that run at once in a host.
    pub threshold: u32,
    /// Time in which nothing is started before a probe.
    pub recovery: Duration,
}

impl BreakerPolicy {
    /// Policy where nobody says otherwise.
    pub const DEFAULT: Self = Self { threshold: 20, recovery: Duration::from_secs(30) };
}

/// Effect of a dead letter on its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blocking {
    /// Later messages wait.
    Wait,
    /// Later messages become dead letters too.
    Park,
}
