//! What a guest may ask for during a call: buffered here, granted by the manifest, bounded by its limits.
//!
//! Nothing here writes. A denial is an answer to the guest, which names the grant; only what the host
//! itself cannot do (Postgres is away) ends the call.

mod outbox;
mod sql;
mod state;

use std::sync::Arc;

use tokio::time::Instant;
use uuid::Uuid;

use super::fault::HostUnavailable;
use crate::config::Manifest;
use crate::message::Outgoing;
use crate::settle::StateView;

/// What one call has asked for.
pub(super) struct Effects {
    phase: Phase,
    manifest: Arc<Manifest>,
    /// The message in hand: ids of what is emitted derive from it.
    message: Uuid,
    /// The call's, for waits in the host.
    deadline: Instant,
    outgoing: Vec<Outgoing>,
    outgoing_bytes: u64,
    state: StateView,
    /// The state before the first write of this call.
    before: Option<StateView>,
}

/// Which of its functions the guest is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// `subscriptions()`, which has no effects whatever the manifest grants.
    Subscribing,
    /// `handle()`.
    Handling,
}

impl Effects {
    /// None yet.
    pub(super) fn new(manifest: Arc<Manifest>, message: Uuid, deadline: Instant, state: StateView) -> Self {
        let phase = Phase::Handling;
        Self { phase, manifest, message, deadline, outgoing: Vec::new(), outgoing_bytes: 0, state, before: None }
    }

    /// For `subscriptions()`.
    pub(super) fn denied(manifest: Arc<Manifest>, deadline: Instant) -> Self {
        let nothing = StateView::new(None, "".into(), None);
        Self { phase: Phase::Subscribing, ..Self::new(manifest, Uuid::nil(), deadline, nothing) }
    }

    /// What the call emitted, and the state with its writes.
    pub(super) fn keep(self) -> (Vec<Outgoing>, StateView) {
        (self.outgoing, self.state)
    }

    /// The state as if the call had written nothing.
    pub(super) fn discard(self) -> StateView {
        self.before.unwrap_or(self.state)
    }

    /// Messages and state writes so far.
    fn count(&self) -> usize {
        self.outgoing.len() + self.state.dirty().count()
    }

    fn is_full(&self) -> bool {
        u32::try_from(self.count()).is_ok_and(|count| count >= self.manifest.limits.effects)
    }

    /// Whether so many bytes more go beyond the limit. A value that replaces one of this call counts
    /// beside it for this moment.
    fn is_too_much(&self, more: usize) -> bool {
        let held = self.outgoing_bytes.saturating_add(length(self.state.bytes_written()));
        held.saturating_add(length(more)) > self.manifest.limits.output_bytes
    }
}

/// Waits for Postgres no longer than the call may last.
async fn waited<T>(deadline: Instant, read: impl Future<Output = T>) -> wasmtime::Result<T> {
    let slow = |_| HostUnavailable("Postgres did not answer within the call's deadline".to_owned());
    Ok(tokio::time::timeout_at(deadline, read).await.map_err(slow)?)
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
