//! One loaded version of a handler, and one call of it, whatever its code is.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::effects::{Asked, Effects};
use super::native::Native;
use super::refused::Refused;
use super::rehearsal::Rehearsal;
use super::sandbox::Sandbox;
use super::subscription::{Subscription, effective, name_topics, too_many, unfit};
use super::world::World;
use crate::config::{Form, Manifest};
use crate::message::Message;
use crate::pipeline::outcome::{Called, End, Fault, Outcome, Usage};
use crate::settle::StateView;

/// A version that never changes; a reload makes another.
#[derive(Clone)]
pub(crate) struct Component {
    digest: Arc<str>,
    code: Code,
    /// Subscriptions that the code itself declares.
    declared: Vec<Subscription>,
    subscriptions: Vec<Subscription>,
    manifest: Arc<Manifest>,
}

/// Code of a version.
#[derive(Clone)]
pub(super) enum Code {
    /// A WebAssembly component.
    Sandboxed(Sandbox),
    /// Rust in this process.
    Native(Native),
}

/// Result of running the code once.
pub(super) struct Ran {
    pub(super) end: End,
    pub(super) effects: Effects,
    pub(super) last_output: Option<String>,
    pub(super) usage: Usage,
}

impl Component {
    /// A version with what its code declares; the manifest's word wins.
    pub(super) fn new(
        digest: Arc<str>,
        code: Code,
        declared: Vec<Subscription>,
        manifest: Arc<Manifest>,
    ) -> Result<Self, Refused> {
        if let Some(why) = too_many(&declared) {
            return Err(Refused::Unsubscribable(why));
        }
        let subscriptions = effective(&declared, &manifest);
        if !name_topics(&subscriptions) {
            return Err(Refused::NoTopic);
        }
        if let Some(why) = unfit(&subscriptions) {
            return Err(Refused::Unsubscribable(why));
        }
        Ok(Self { digest, code, declared, subscriptions, manifest })
    }

    /// The same code under another manifest.
    pub(super) fn with_manifest(self, manifest: Arc<Manifest>) -> Result<Self, Refused> {
        let (code, manifest) = match self.code {
            Code::Sandboxed(sandbox) => {
                let manifest =
                    if sandbox.script.is_some() { Arc::new(manifest.of_script()) } else { manifest };
                (Code::Sandboxed(sandbox.under(&manifest)), manifest)
            }
            Code::Native(native) => (Code::Native(native), manifest),
        };
        Self::new(self.digest, code, self.declared, manifest)
    }

    /// SHA-256 of its file, hex; of a native one, of its name and version.
    #[must_use]
    pub(crate) fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// Returns what it takes; the manifest's word wins over its own.
    #[must_use]
    pub(crate) fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// Returns its grants, limits and rules.
    #[must_use]
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Counts its instances that wait for another call.
    pub(crate) fn idle_instances(&self) -> usize {
        match &self.code {
            Code::Sandboxed(sandbox) => sandbox.kept.idle(),
            Code::Native(_) => 0,
        }
    }

    /// Returns its own world; native code has none.
    pub(super) fn world(&self) -> Option<&World> {
        match &self.code {
            Code::Sandboxed(sandbox) => Some(&sandbox.world),
            Code::Native(_) => None,
        }
    }

    /// Handles one message. It takes at most twice the deadline: once for a place in the pool, once for the
    /// call. Whatever does not end as `Completed` has no effects and leaves the state as it was.
    pub(crate) async fn call(&self, message: &Message, form: Form, state: StateView) -> Called {
        let effects =
            |deadline: Instant| Effects::new(Arc::clone(&self.manifest), message.id, deadline, state);
        let ran = self.run(message, form, effects).await;
        self.called(ran)
    }

    /// The same, with all that it asked for, in order. A rehearsal stands in place of the world outside.
    pub(crate) async fn watch(
        &self,
        message: &Message,
        form: Form,
        state: StateView,
        rehearsal: Option<Rehearsal>,
    ) -> (Called, Vec<Asked>) {
        let effects = |deadline: Instant| {
            let effects = Effects::new(Arc::clone(&self.manifest), message.id, deadline, state);
            effects.watched().rehearsed(rehearsal)
        };
        let mut ran = self.run(message, form, effects).await;
        let asked = ran.effects.take_journal();
        (self.called(ran), asked)
    }

    async fn run(&self, message: &Message, form: Form, effects: impl FnOnce(Instant) -> Effects) -> Ran {
        match &self.code {
            Code::Sandboxed(sandbox) => sandbox.call(&self.manifest.limits, message, form, effects).await,
            Code::Native(native) => native.call(&self.manifest.limits, message, effects).await,
        }
    }

    fn called(&self, Ran { end, effects, last_output, usage }: Ran) -> Called {
        let end = match (end, effects.lost_sql()) {
            (End::Decided(Outcome::Completed), Some(error)) => {
                End::Faulted(Fault::Sql { reason: error.to_string() })
            }
            (end, _) => end,
        };
        let end = match (end, effects.refused()) {
            (End::Faulted(fault), Some(refused)) => End::Faulted(fault.after(refused)),
            (end, _) => end,
        };
        let (outgoing, state, sql) = match &end {
            End::Decided(Outcome::Completed) => effects.keep(),
            End::Decided(Outcome::Retry { .. } | Outcome::Skipped(_) | Outcome::Rejected(_))
            | End::Faulted(_)
            | End::Unavailable(_)
            | End::NotCalled(_) => (Vec::new(), effects.discard(), None),
        };
        Called { end, outgoing, state, sql, last_output, digest: Arc::clone(&self.digest), usage }
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("digest", &self.digest)
            .field("subscriptions", &self.subscriptions)
            .finish_non_exhaustive()
    }
}
