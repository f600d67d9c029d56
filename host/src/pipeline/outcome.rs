//! Outcome of a call, with what only the host can hold: the open transaction of its SQL.

pub use mailroom_core::verdict::outcome::Outcome;
pub(crate) use mailroom_core::verdict::outcome::{End, Fault, Usage};

use crate::db::GuestTx;
use crate::message::Outgoing;
use crate::settle::StateView;

/// One call and all that came of it. Effects count only where it ended as `Completed`.
#[derive(Debug)]
pub(crate) struct Called {
    /// End of the call.
    pub(crate) end: End,
    /// Messages that it emitted, in order.
    pub(crate) outgoing: Vec<Outgoing>,
    /// State that it read and wrote.
    pub(crate) state: StateView,
    /// The transaction that its SQL ran in, still open.
    pub(crate) sql: Option<GuestTx>,
    /// The last of what it wrote to stdout, stderr and the log.
    pub(crate) last_output: Option<String>,
    /// The digest of the version that ran.
    pub(crate) digest: std::sync::Arc<str>,
    /// Cost of the call.
    pub(crate) usage: Usage,
}
