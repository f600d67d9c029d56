//! Effects that a handler may ask for during a call: buffered here, granted by the manifest, bounded by its
//! limits.
//!
//! Nothing here writes. A denial is an answer to the handler, which names the grant; only what the host
//! itself cannot do (Postgres is away) ends the call.

mod config;
mod http;
mod journal;
mod log;
mod publish;
mod sql;
mod state;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

pub(crate) use journal::Asked;
pub(super) use journal::refused;
use log::Lines;
pub(super) use log::TooManyLines;
pub use publish::PublishError;
pub use state::StateError;
pub(super) use store::StoreError;

use super::http::Client;
use super::output::Output;
use super::rehearsal::Rehearsal;
use crate::config::Manifest;
use crate::db::{GuestTx, SqlError};
use crate::message::Outgoing;
use crate::settle::{Scope, StateView};

/// Postgres' timeouts are whole milliseconds, and begin a little apart from ours.
const TIMEOUT_EARLY: Duration = Duration::from_millis(5);

/// Effects that one call has asked for.
pub(super) struct Effects {
    phase: Phase,
    manifest: Arc<Manifest>,
    /// The message in hand: ids of what is emitted derive from it.
    message: Uuid,
    /// The call's, for waits in the host.
    deadline: Instant,
    outgoing: Vec<Outgoing>,
    state: StateView,
    /// Bytes by name of what this call wrote. The view's own marks are older: it may hold what earlier
    /// messages of the key wrote.
    written: BTreeMap<(Scope, String), u64>,
    /// Bytes of all effects.
    bytes: u64,
    /// The state before the first write of this call.
    before: Option<StateView>,
    /// The first thing beyond a limit that was refused.
    refused: Option<String>,
    sql: Sql,
    /// The last names of pages, which cursors are the places of.
    page_ends: Vec<(Scope, String)>,
    lines: Lines,
    http: http::Requests,
    /// All that was asked for, where somebody wants to see it.
    journal: Option<Vec<Asked>>,
    /// Rehearsal in place of the world outside, where a test makes the call.
    rehearsal: Option<Rehearsal>,
}

/// The call's SQL.
#[derive(Default)]
enum Sql {
    /// None yet.
    #[default]
    Unused,
    /// Transaction of the call, and how many statements it has run.
    Open(GuestTx, u32),
    /// A statement failed, and with it the transaction.
    Lost(SqlError),
}

/// Function of the guest that the call is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// `subscriptions()`, which has no effects whatever the manifest grants.
    Subscribing,
    /// `handle()`.
    Handling,
}

impl Effects {
    /// None yet.
    pub(super) fn new(
        manifest: Arc<Manifest>,
        message: Uuid,
        deadline: Instant,
        mut state: StateView,
    ) -> Self {
        state.begin_call(manifest.limits.state_values, manifest.limits.state_bytes);
        Self {
            phase: Phase::Handling,
            manifest,
            message,
            deadline,
            outgoing: Vec::new(),
            state,
            written: BTreeMap::new(),
            bytes: 0,
            before: None,
            refused: None,
            sql: Sql::Unused,
            page_ends: Vec::new(),
            lines: Lines::default(),
            http: http::Requests::default(),
            journal: None,
            rehearsal: None,
        }
    }

    /// Keeps a journal of what is asked for.
    pub(super) fn watched(self) -> Self {
        Self { journal: Some(Vec::new()), ..self }
    }

    /// Keeps the world outside from the call.
    pub(super) fn rehearsed(self, rehearsal: Option<Rehearsal>) -> Self {
        Self { rehearsal, ..self }
    }

    /// Returns the rehearsal in place of the world outside, where a test makes the call.
    pub(super) fn rehearsal(&self) -> Option<&Rehearsal> {
        self.rehearsal.as_ref()
    }

    /// Lets requests that are granted through to the network.
    pub(super) fn with_client(self, client: Option<Arc<Client>>) -> Self {
        Self { http: self.http.by(client), ..self }
    }

    /// Writes the host's words about requests beside the call's own.
    pub(super) fn tell_to(&mut self, output: Output) {
        self.http.tell_to(output);
    }

    /// Takes what was asked for so far, where it was watched.
    pub(super) fn take_journal(&mut self) -> Vec<Asked> {
        self.journal.take().unwrap_or_default()
    }

    /// Makes the effects of `subscriptions()`, where each is denied.
    pub(super) fn denied(manifest: Arc<Manifest>, deadline: Instant) -> Self {
        let nothing = StateView::new(None, "".into(), None);
        Self { phase: Phase::Subscribing, ..Self::new(manifest, Uuid::nil(), deadline, nothing) }
    }

    /// Takes what was asked for. Nothing may be until the next call.
    pub(super) fn end(&mut self) -> Self {
        let denied = Self::denied(Arc::clone(&self.manifest), self.deadline);
        std::mem::replace(self, denied)
    }

    /// Takes what the call emitted, the state with its writes, and the transaction that its SQL ran in.
    pub(super) fn keep(self) -> (Vec<Outgoing>, StateView, Option<GuestTx>) {
        let tx = match self.sql {
            Sql::Open(tx, _) => Some(tx),
            Sql::Unused | Sql::Lost(_) => None,
        };
        (self.outgoing, self.state, tx)
    }

    /// Tells whether the deadline has come, as near as Postgres' timeouts keep to it.
    pub(super) fn time_is_over(&self) -> bool {
        Instant::now() + TIMEOUT_EARLY >= self.deadline
    }

    /// Returns why the call can no longer complete.
    pub(super) fn lost_sql(&self) -> Option<&SqlError> {
        match &self.sql {
            Sql::Lost(error) => Some(error),
            Sql::Unused | Sql::Open(..) => None,
        }
    }

    /// The state as if the call had written nothing.
    pub(super) fn discard(self) -> StateView {
        self.before.unwrap_or(self.state)
    }

    /// The first thing that was refused for a limit. A handler that fails afterwards has often failed of it.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref().or_else(|| self.http.refused())
    }

    /// The request that it waits for, where it waits for one.
    pub(super) fn awaited(&self) -> Option<String> {
        self.http.awaited()
    }

    fn refuse(&mut self, what: impl FnOnce() -> String) {
        self.refused.get_or_insert_with(what);
    }

    /// Tells whether there is no room for one more message or state write, which is then refused.
    fn is_full(&mut self) -> bool {
        let count = self.outgoing.len() + self.written.len();
        let most = self.manifest.limits.effects;
        let full = usize::try_from(most).is_ok_and(|most| count >= most);
        if full {
            self.refuse(|| format!("its effect number {}, limits.effects = {most}", count + 1));
        }
        full
    }

    /// The bytes of all effects with so many more and so many fewer; `None` where that is too much, and then
    /// they are refused.
    fn bytes_with(&mut self, more: u64, fewer: u64) -> Option<u64> {
        let bytes = self.bytes.saturating_sub(fewer).saturating_add(more);
        let most = self.manifest.limits.output_bytes;
        if bytes > most {
            self.refuse(|| format!("effects of {bytes} bytes in all, limits.output-bytes = {most}"));
            return None;
        }
        Some(bytes)
    }
}

/// Waits for Postgres no longer than the call may last; `Err` is why there is no answer.
async fn waited<T>(deadline: Instant, read: impl Future<Output = T>) -> Result<T, String> {
    let slow = |_| "Postgres did not answer within the call's deadline".to_owned();
    tokio::time::timeout_at(deadline, read).await.map_err(slow)
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
