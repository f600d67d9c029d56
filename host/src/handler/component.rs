//! One loaded version of a handler, and one call of it: a new instance each time, thrown away with it.

use std::fmt;
use std::sync::Arc;

use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;
use wasmtime::Store;

use super::bindings::SqlHandlerPre;
use super::engine::Engine;
use super::fault::{Stopped, classify};
use super::guest::{self, Guest};
use super::imports::Effects;
use super::refused::Refused;
use super::subscription::{Subscription, effective, name_topics};
use super::translate;
use super::world::World;
use crate::config::{Form, HandlerName, Manifest};
use crate::message::{Message, Outgoing};
use crate::pipeline::outcome::{Called, End, Fault, Outcome, Usage};
use crate::settle::StateView;

/// A version that never changes; a reload makes another.
#[derive(Clone)]
pub(crate) struct Component {
    engine: Arc<Engine>,
    name: HandlerName,
    digest: Arc<str>,
    pre: SqlHandlerPre<Guest>,
    pub(super) world: World,
    /// What the component itself subscribes to.
    declared: Vec<Subscription>,
    subscriptions: Vec<Subscription>,
    manifest: Arc<Manifest>,
}

impl Component {
    /// Asks what it subscribes to. The caller has a place in the pool for it.
    pub(super) async fn describe(
        engine: Arc<Engine>,
        name: HandlerName,
        digest: Arc<str>,
        pre: SqlHandlerPre<Guest>,
        world: World,
        manifest: Arc<Manifest>,
    ) -> Result<Self, Refused> {
        let unknown = Self {
            engine,
            name,
            digest,
            pre,
            world,
            declared: Vec::new(),
            subscriptions: Vec::new(),
            manifest,
        };
        let declared = unknown.ask_subscriptions().await.map_err(|stopped| match stopped {
            Stopped::Faulted(fault) => Refused::SubscriptionsFaulted(fault),
            Stopped::Unavailable(why) => Refused::Unavailable(why),
        })?;
        let manifest = Arc::clone(&unknown.manifest);
        Self { declared, ..unknown }.with_manifest(manifest)
    }

    /// The same code under another manifest.
    pub(super) fn with_manifest(self, manifest: Arc<Manifest>) -> Result<Self, Refused> {
        let subscriptions = effective(&self.declared, &manifest);
        if !name_topics(&subscriptions) {
            return Err(Refused::NoTopic);
        }
        Ok(Self { subscriptions, manifest, ..self })
    }

    /// SHA-256 of its file, hex.
    #[must_use]
    pub(crate) fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// What it takes; the manifest's word wins over its own.
    #[must_use]
    pub(crate) fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// Its grants, limits and rules.
    #[must_use]
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Handles one message in a new instance. It takes at most twice the deadline: once for a place in the
    /// pool, once for the call. Whatever does not end as `Completed` has no effects and leaves the state as
    /// it was.
    pub(crate) async fn call(&self, message: &Message, form: Form, state: StateView) -> Called {
        let limits = &self.manifest.limits;
        let slot = timeout(limits.deadline, self.engine.slots.acquire()).await;
        let Ok(Ok(_slot)) = slot else {
            let why = "no place for another instance within the call's deadline; raise worker.concurrency";
            return self.called(End::Unavailable(why.to_owned()), Vec::new(), state, None, Usage::default());
        };
        let _ticking = self.engine.clock.call();
        let started = Instant::now();
        let deadline = started + limits.deadline;
        let effects = Effects::new(Arc::clone(&self.manifest), message.id, deadline, state);
        let mut store = guest::store(&self.engine.wasmtime, limits, effects);
        let delivery = translate::to_guest(message, form);
        let reply = timeout_at(guest::timeout_at(deadline), async {
            guest::wind_up(&mut store, limits, deadline)?;
            let instance = self.pre.instantiate_async(&mut store).await?;
            instance.mailroom_contract_handler().call_handle(&mut store, &delivery).await
        });
        let reply = reply.await;
        let end = match self.judged(&store, reply) {
            Ok(reply) => translate::end(reply),
            Err(Stopped::Faulted(fault)) => End::Faulted(fault),
            Err(Stopped::Unavailable(why)) => End::Unavailable(why),
        };
        let usage = self.usage(&store, started);
        let output = store.data().output.text();
        self.log_output(message.id, output.as_deref());
        let effects = store.into_data().effects;
        let (outgoing, state) = match &end {
            End::Decided(Outcome::Completed) => effects.keep(),
            End::Decided(Outcome::Retry { .. } | Outcome::Skipped(_) | Outcome::Rejected(_))
            | End::Faulted(_)
            | End::Unavailable(_) => (Vec::new(), effects.discard()),
        };
        self.called(end, outgoing, state, output, usage)
    }

    async fn ask_subscriptions(&self) -> Result<Vec<Subscription>, Stopped> {
        let limits = &self.manifest.limits;
        let _ticking = self.engine.clock.call();
        let deadline = Instant::now() + limits.deadline;
        let effects = Effects::denied(Arc::clone(&self.manifest), deadline);
        let mut store = guest::store(&self.engine.wasmtime, limits, effects);
        let reply = timeout_at(guest::timeout_at(deadline), async {
            guest::wind_up(&mut store, limits, deadline)?;
            let instance = self.pre.instantiate_async(&mut store).await?;
            instance.mailroom_contract_handler().call_subscriptions(&mut store).await
        });
        let reply = reply.await;
        let said = self.judged(&store, reply)?;
        Ok(said.into_iter().map(Subscription::from).collect())
    }

    /// The outer timeout is for guests that wait; those that compute end themselves.
    fn judged<T>(
        &self,
        store: &Store<Guest>,
        reply: Result<wasmtime::Result<T>, tokio::time::error::Elapsed>,
    ) -> Result<T, Stopped> {
        let limits = &self.manifest.limits;
        match reply {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(classify(&error, store.data(), limits)),
            Err(_) => Err(Stopped::Faulted(Fault::Deadline { limit: limits.deadline })),
        }
    }

    fn usage(&self, store: &Store<Guest>, started: Instant) -> Usage {
        let left = store.get_fuel().unwrap_or_default();
        Usage {
            fuel: self.manifest.limits.fuel.saturating_sub(left),
            memory_peak: store.data().meter.peak(),
            took: started.elapsed(),
        }
    }

    fn log_output(&self, message: Uuid, output: Option<&str>) {
        for line in output.unwrap_or_default().lines().filter(|line| !line.trim().is_empty()) {
            tracing::debug!(handler.name = %self.name, message.id = %message, "{}: {line}", self.name);
        }
    }

    fn called(
        &self,
        end: End,
        outgoing: Vec<Outgoing>,
        state: StateView,
        last_output: Option<String>,
        usage: Usage,
    ) -> Called {
        Called { end, outgoing, state, last_output, digest: Arc::clone(&self.digest), usage }
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .field("subscriptions", &self.subscriptions)
            .finish_non_exhaustive()
    }
}
