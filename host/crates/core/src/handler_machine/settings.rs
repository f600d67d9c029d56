//! Bounds of a handler's machine.

use std::time::Duration;

/// The host's settings that concern a handler's machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The most messages in memory.
    pub in_hand_max: usize,
    /// The most bytes of them.
    pub in_hand_bytes_max: usize,
    /// The most bytes of what calls left and Postgres does not have: beyond it no call begins. A settlement has a
    /// quarter of it at most.
    pub effects_bytes_max: usize,
    /// The most rows of a page.
    pub batch_rows_max: usize,
    /// The most rows of a settlement.
    pub settle_rows_max: usize,
    /// The time without a heartbeat after which other hosts take this one for dead.
    pub expiry: Duration,
    /// The longest that a command takes.
    pub command_limit: Duration,
    /// The most keys that wait in Postgres and are remembered.
    pub waiting_keys_max: usize,
}
