//! A WebAssembly component's code, and one call of it: in a new instance that is thrown away with it, or, where the
//! manifest says so, in one that had calls before.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;
use wasmtime::Store;

use super::component::Ran;
use super::effects::Effects;
use super::engine::Engine;
use super::fault::{Stopped, classify};
use super::guest::{self, Guest};
use super::http::Client;
use super::instance::{Instance, Kept};
use super::linked::Linked;
use super::output::Output;
use super::reply;
use super::script::Script;
use super::subscription::Subscription;
use super::world::World;
use crate::config::{CallLimits, Form, HandlerName, Manifest};
use crate::message::Message;
use crate::pipeline::outcome::{End, Fault, Usage};

/// Compiled and linked.
#[derive(Clone)]
pub(super) struct Sandbox {
    pub(super) engine: Arc<Engine>,
    /// Name for its lines in the log.
    pub(super) name: HandlerName,
    pub(super) linked: Arc<Linked>,
    /// Script that it interprets, where the handler is one.
    pub(super) script: Option<Arc<Script>>,
    pub(super) world: World,
    /// `None` where no request may leave.
    pub(super) client: Option<Arc<Client>>,
    pub(super) kept: Arc<Kept>,
}

impl Sandbox {
    /// The same code for another manifest: it shares no instances.
    pub(super) fn under(self, manifest: &Manifest) -> Self {
        Self { kept: self.engine.keeping.version(manifest), ..self }
    }

    /// Handles one message; `effects` makes the call's own, given its deadline.
    pub(super) async fn call(
        &self,
        limits: &CallLimits,
        message: &Message,
        form: Form,
        effects: impl FnOnce(Instant) -> Effects,
    ) -> Ran {
        let slot = timeout(limits.deadline, self.engine.slots.acquire()).await;
        let started = Instant::now();
        let deadline = started + limits.deadline;
        let effects = effects(deadline).with_client(self.client.clone());
        let Ok(Ok(_slot)) = slot else {
            let why = "no place for another instance within the call's deadline; raise worker.concurrency";
            let end = End::NotCalled(why.to_owned());
            return Ran { end, effects, last_output: None, usage: Usage::default() };
        };
        let _ticking = self.engine.clock.call();
        // An instance that had calls before has the real clocks.
        let kept = if effects.rehearsal().is_none() { self.kept.take() } else { None };
        let mut instance = match kept {
            Some(kept) => kept.again(effects),
            None => Instance::new(guest::store(
                &self.engine.wasmtime,
                &self.name,
                self.script.clone(),
                limits,
                effects,
            )),
        };
        let reply = instance.handle(&self.linked, limits, deadline, message, form).await;
        let end = match judged(&instance.store, limits, reply) {
            Ok(reply) => reply::end(reply),
            Err(Stopped::Faulted(fault)) => End::Faulted(fault),
            Err(Stopped::Unavailable(why)) => End::Unavailable(why),
        };
        let fuel = limits.fuel.saturating_sub(instance.store.get_fuel().unwrap_or_default());
        let memory_peak = instance.store.data().meter.peak();
        let last_output = instance.store.data().output.text();
        self.log_output(message.id, &instance.store.data().output);
        let effects = self.kept.end(instance, &end);
        effects.tell_dropped_lines(&self.name);
        // Freeing an instance is a part of what a call costs.
        let usage = Usage { fuel, memory_peak, took: started.elapsed() };
        Ran { end, effects, last_output, usage }
    }

    /// Asks what it subscribes to, on the guests' runtime, for at most so long. The caller has a place in the pool
    /// for it.
    pub(super) async fn subscriptions(
        &self,
        guests: &Handle,
        manifest: &Arc<Manifest>,
        within: Duration,
    ) -> Result<Vec<Subscription>, Stopped> {
        let (sandbox, manifest) = (self.clone(), Arc::clone(manifest));
        // It ends with whoever waits for it.
        let mut asking = JoinSet::new();
        asking.spawn_on(async move { sandbox.ask_subscriptions(&manifest, within).await }, guests);
        match asking.join_next().await {
            Some(Ok(said)) => said,
            Some(Err(error)) => Err(Stopped::Unavailable(error.to_string())),
            None => Err(Stopped::Unavailable("nobody was asked".to_owned())),
        }
    }

    async fn ask_subscriptions(
        &self,
        manifest: &Arc<Manifest>,
        within: Duration,
    ) -> Result<Vec<Subscription>, Stopped> {
        let limits = &manifest.limits;
        let _ticking = self.engine.clock.call();
        let deadline = Instant::now() + within;
        let effects = Effects::denied(Arc::clone(manifest), deadline);
        let mut store = guest::store(&self.engine.wasmtime, &self.name, self.script.clone(), limits, effects);
        let reply = timeout_at(guest::timeout_at(deadline), async {
            guest::wind_up(&mut store, limits, deadline)?;
            let exports = self.linked.instantiate(&mut store).await?;
            exports.subscriptions(&mut store).await
        });
        let reply = reply.await;
        judged(&store, limits, reply)
    }

    /// Nothing is copied where nobody reads it.
    fn log_output(&self, message: Uuid, output: &Output) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        for line in output.printed().lines().filter(|line| !line.trim().is_empty()) {
            tracing::debug!(handler.name = %self.name, message.id = %message, "{}: {line}", self.name);
        }
    }
}

/// The outer timeout is for guests that wait; those that compute end themselves.
fn judged<T>(
    store: &Store<Guest>,
    limits: &CallLimits,
    reply: Result<wasmtime::Result<T>, Elapsed>,
) -> Result<T, Stopped> {
    match reply {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(classify(&error, store.data(), limits)),
        Err(_) => Err(Stopped::Faulted(Fault::Deadline {
            limit: limits.deadline,
            backtrace: String::new(),
            awaited: store.data().effects.awaited(),
        })),
    }
}
