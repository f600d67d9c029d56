//! One life of the host: from its registration to its burial or its stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::intake::{self, Ended, FromSweep};
use super::registry::{Registry, Shown};
use super::{Error, Shared};
use crate::config::HandlerName;
use crate::db::hosts;
use crate::handler::{Change, Handler};
use crate::lane::{Lease, Session};
use crate::relay::Relay;
use crate::retention::Retention;
use crate::sweep::{Breakers, Sweep};

/// What the last parts of a stop may take beyond the grace.
const WIND_DOWN: Duration = Duration::from_secs(3);
/// How often the registry is written where it could not be at once.
const REGISTRY_EVERY: Duration = Duration::from_secs(1);

/// The handlers of this process, which outlast its lives.
pub(super) struct Handlers {
    changes: mpsc::Receiver<Change>,
    running: HashMap<HandlerName, Arc<Handler>>,
    registry: Registry,
}

impl Handlers {
    pub(super) fn new(changes: mpsc::Receiver<Change>) -> Self {
        Self { changes, running: HashMap::new(), registry: Registry::default() }
    }
}

/// The handlers at work in this life.
struct Intakes<'l> {
    shared: &'l Shared,
    session: &'l Arc<Session>,
    leases: mpsc::UnboundedSender<Lease>,
    breakers: watch::Receiver<Breakers>,
    /// Stops each handler's work.
    stops: HashMap<HandlerName, CancellationToken>,
    tasks: JoinSet<Result<Ended, Error>>,
}

impl Intakes<'_> {
    /// Starts the handler's work; where it works already, in another form, that is stopped first and
    /// this begins when it has ended.
    fn start(&mut self, handler: &Arc<Handler>) {
        if let Some(stop) = self.stops.get(&handler.name) {
            stop.cancel();
            return;
        }
        let stop = CancellationToken::new();
        self.stops.insert(handler.name.clone(), stop.clone());
        let (shared, session, handler) = (self.shared.clone(), Arc::clone(self.session), Arc::clone(handler));
        let sweep = FromSweep { leases: self.leases.clone(), breakers: self.breakers.clone() };
        self.tasks.spawn(intake::run(shared, session, handler, sweep, stop));
    }

    fn stop(&self, name: &HandlerName) {
        if let Some(stop) = self.stops.get(name) {
            stop.cancel();
        }
    }

    fn stop_all(&self) {
        self.stops.values().for_each(CancellationToken::cancel);
    }
}

/// Lives until the session ends or the host is stopped. A stop goes with the flow of a message: intake
/// and calls first, then the relay, then the sweep, and last this host's own row.
pub(super) async fn live(
    shared: &Shared,
    session: &Arc<Session>,
    handlers: &mut Handlers,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let (taken, leases) = mpsc::unbounded_channel();
    let (to_relay, relay_lanes) = mpsc::unbounded_channel();
    let (relay_stop, sweep_stop) = (CancellationToken::new(), CancellationToken::new());
    let (breakers, open_breakers) = watch::channel(Breakers::default());
    let sweep = Sweep {
        config: Arc::clone(&shared.config),
        db: shared.db.clone(),
        session: Arc::clone(session),
        leases,
        relay: to_relay,
        wake: Arc::clone(&shared.inbox_wake),
        outbox_wake: Arc::clone(&shared.outbox_wake),
        breakers,
        nobodys: HashMap::new(),
    };
    let relay = Relay {
        config: Arc::clone(&shared.config),
        db: shared.db.clone(),
        session: Arc::clone(session),
        lanes: relay_lanes,
        wake: Arc::clone(&shared.outbox_wake),
    };
    let mut keepers = keepers(shared, sweep, &sweep_stop);
    let mut relays: JoinSet<Result<(), Error>> = JoinSet::new();
    let token = relay_stop.clone();
    relays.spawn(async move { Ok(relay.run(token).await?) });
    let stops = HashMap::new();
    let mut intakes =
        Intakes { shared, session, leases: taken, breakers: open_breakers, stops, tasks: JoinSet::new() };
    handlers.registry.begin();
    for handler in handlers.running.values() {
        intakes.start(handler);
    }
    let lived = attend(handlers, &mut intakes, &mut relays, stop).await;
    let wind_down = async {
        intakes.stop_all();
        ended(&mut intakes.tasks).await?;
        relay_stop.cancel();
        ended(&mut relays).await?;
        sweep_stop.cancel();
        ended(&mut keepers).await?;
        if !session.ended().is_cancelled()
            && let Err(error) = hosts::depart(&shared.db, session.id).await
        {
            tracing::warn!(%error, "This host's row stays until its expiry");
        }
        Ok::<(), Error>(())
    };
    // Each part has its grace; all together have it too, so that a stop without Postgres ends.
    match tokio::time::timeout(shared.config.host.stop_grace + WIND_DOWN, wind_down).await {
        Ok(wound_down) => lived.and(wound_down),
        Err(_) => {
            tracing::warn!(
                "The stop did not end within its grace: what is not settled stays pending, and lanes are free \
                 after the expiry"
            );
            lived
        }
    }
}

/// What looks after this host's life and after old rows, until the last step of a stop.
fn keepers(shared: &Shared, sweep: Sweep, stop: &CancellationToken) -> JoinSet<Result<(), Error>> {
    let mut keepers = JoinSet::new();
    let token = stop.clone();
    keepers.spawn(async move {
        sweep.run(token).await;
        Ok(())
    });
    let retention = Retention { config: Arc::clone(&shared.config), db: shared.db.clone() };
    let token = stop.clone();
    keepers.spawn(async move {
        retention.run(token).await;
        Ok(())
    });
    keepers
}

/// Waits for all tasks.
async fn ended<T: 'static>(tasks: &mut JoinSet<Result<T, Error>>) -> Result<(), Error> {
    while let Some(task) = tasks.join_next().await {
        joined(task)?;
    }
    Ok(())
}

/// Follows the handlers' changes until the life is to end.
async fn attend(
    handlers: &mut Handlers,
    intakes: &mut Intakes<'_>,
    relays: &mut JoinSet<Result<(), Error>>,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let mut tick = tokio::time::interval(REGISTRY_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let session = Arc::clone(intakes.session);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = session.ended().cancelled() => return Ok(()),
            Some(change) = handlers.changes.recv() => changed(handlers, intakes, change),
            Some(ended) = intakes.tasks.join_next() => intake_ended(handlers, intakes, joined(ended)?),
            Some(ended) = relays.join_next() => joined(ended)?,
            _ = tick.tick() => {}
        }
        if let Err(error) = handlers.registry.write(&intakes.shared.db, session.id).await {
            tracing::debug!(%error, "The registry of handlers is written later");
        }
    }
}

fn changed(handlers: &mut Handlers, intakes: &mut Intakes<'_>, change: Change) {
    match change {
        Change::Running(handler) => {
            handlers.registry.show(handler.name.clone(), Shown::running(&handler));
            handlers.running.insert(handler.name.clone(), Arc::clone(&handler));
            intakes.start(&handler);
        }
        Change::Swapped(handler) => handlers.registry.show(handler.name.clone(), Shown::running(&handler)),
        Change::Refused { name, reason, keeps } => {
            if keeps.is_some() && handlers.registry.has(&name) {
                handlers.registry.amend(&name, |shown| shown.last_error = Some(reason));
            } else {
                let group = format!("{}.{name}", intakes.shared.config.namespace);
                let refused = Shown {
                    group: Arc::from(group),
                    digest: None,
                    state: "refused",
                    subscriptions: serde_json::json!([]),
                    last_error: Some(reason),
                };
                handlers.registry.show(name, refused);
            }
        }
        Change::Removed(name) => {
            handlers.running.remove(&name);
            handlers.registry.amend(&name, |shown| shown.state = "removed");
            intakes.stop(&name);
        }
    }
}

/// A handler's work ended: it begins anew where the handler is still there, in another form.
fn intake_ended(handlers: &mut Handlers, intakes: &mut Intakes<'_>, ended: Ended) {
    match ended {
        Ended::Stopped(name) => {
            intakes.stops.remove(&name);
            if let Some(handler) = handlers.running.get(&name) {
                intakes.start(handler);
            }
        }
        Ended::GroupTaken { name, by } => {
            intakes.stops.remove(&name);
            if let Some(handler) = handlers.running.remove(&name) {
                let reason = format!(
                    "consumer group {} belongs to handler {by}: give {name} another with `group` in {name}.toml",
                    handler.group
                );
                tracing::error!(handler.name = %name, "{reason}");
                handlers.registry.amend(&name, |shown| {
                    shown.state = "refused";
                    shown.last_error = Some(reason);
                });
            }
        }
    }
}

fn joined<T>(ended: Result<Result<T, Error>, JoinError>) -> Result<T, Error> {
    ended.unwrap_or_else(|error| Err(Error::LoopEnded(error.to_string())))
}
