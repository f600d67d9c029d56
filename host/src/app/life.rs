//! One life of the host: from its registration to its burial or its stop.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::intake::{self, FromSweep, Standing};
use super::registry::{Registry, Shown};
use super::{Error, Shared};
use crate::config::HandlerName;
use crate::db::hosts;
use crate::handler::{Change, Handler};
use crate::lane::Session;
use crate::relay::Relay;
use crate::retention::Retention;
use crate::sweep::Sweep;
use crate::worker::{HostLook, LaneBook};

/// Part of the grace that is left for saying goodbye on connections.
const GOODBYES: Duration = Duration::from_secs(2);
/// Interval at which the registry is written where it could not be at once.
const REGISTRY_EVERY: Duration = Duration::from_secs(1);

/// The handlers of this process, which outlast its lives.
pub(super) struct Handlers {
    changes: mpsc::Receiver<Change>,
    running: HashMap<HandlerName, Arc<Handler>>,
    /// Taken away, and perhaps still ending their calls. Until these have ended the registry does not say that
    /// they are gone, and nobody else gets their groups.
    leaving: HashSet<HandlerName>,
    /// Handlers whose group belongs to another, and what was said of it.
    waiting: HashMap<HandlerName, String>,
    registry: Registry,
    /// True once the folder was read.
    listed: bool,
}

impl Handlers {
    pub(super) fn new(changes: mpsc::Receiver<Change>) -> Self {
        Self {
            changes,
            running: HashMap::new(),
            leaving: HashSet::new(),
            waiting: HashMap::new(),
            registry: Registry::default(),
            listed: false,
        }
    }

    /// Says which handlers do not run, and why; `None` where all do.
    fn why_not(&self) -> Option<String> {
        if !self.listed {
            return Some("the handlers' folder was not read yet".to_owned());
        }
        let unready: Vec<String> = self.registry.unready().collect();
        (!unready.is_empty()).then(|| unready.join("; "))
    }

    /// Shows a handler as it is now.
    fn show(&mut self, handler: &Handler) {
        let mut shown = Shown::running(handler);
        if let Some(reason) = self.waiting.get(&handler.name) {
            (shown.state, shown.last_error) = ("refused", Some(reason.clone()));
        }
        self.registry.show(handler.name.clone(), shown);
    }

    fn removed(&mut self, name: &HandlerName) {
        self.leaving.remove(name);
        self.registry.amend(name, |shown| shown.state = "removed");
    }
}

/// The handlers at work in this life.
struct Intakes<'l> {
    shared: &'l Shared,
    session: &'l Arc<Session>,
    looks: watch::Receiver<Arc<HostLook>>,
    lanes: LaneBook,
    /// Stops each handler's work.
    stops: HashMap<HandlerName, CancellationToken>,
    /// Each ends with its handler's name.
    tasks: JoinSet<Result<HandlerName, Error>>,
    /// News of handlers that wait for their groups.
    standings: (mpsc::UnboundedSender<Standing>, mpsc::UnboundedReceiver<Standing>),
}

impl Intakes<'_> {
    /// Starts the handler's work; where it works already, in another form, that is stopped first and
    /// this begins when it has ended.
    fn start(&mut self, handler: &Arc<Handler>, registry: &mut Registry) {
        if let Some(stop) = self.stops.get(&handler.name) {
            stop.cancel();
            return;
        }
        let stop = CancellationToken::new();
        self.stops.insert(handler.name.clone(), stop.clone());
        registry.began(&handler.name, &handler.group);
        let (shared, session, handler) = (self.shared.clone(), Arc::clone(self.session), Arc::clone(handler));
        let sweep = FromSweep { looks: self.looks.clone(), lanes: self.lanes.clone() };
        self.tasks.spawn(intake::run(shared, session, handler, sweep, self.standings.0.clone(), stop));
    }

    /// Gives whether it works.
    fn stop(&self, name: &HandlerName) -> bool {
        self.stops.get(name).inspect(|stop| stop.cancel()).is_some()
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
    let lanes = LaneBook::default();
    let (to_relay, relay_lanes) = mpsc::unbounded_channel();
    let (relay_stop, sweep_stop) = (CancellationToken::new(), CancellationToken::new());
    let (looks, looked) = watch::channel(Arc::new(HostLook::default()));
    let sweep = Sweep {
        config: Arc::clone(&shared.config),
        db: shared.db.clone(),
        session: Arc::clone(session),
        lanes: lanes.clone(),
        relay: to_relay,
        wake: Arc::clone(&shared.inbox_wake),
        outbox_wake: Arc::clone(&shared.outbox_wake),
        looks,
        nobodys: HashMap::new(),
    };
    let relay = Relay {
        config: Arc::clone(&shared.config),
        db: shared.db.clone(),
        session: Arc::clone(session),
        lanes: relay_lanes,
        wake: Arc::clone(&shared.outbox_wake),
        metrics: shared.metrics.clone(),
    };
    let mut keepers = keepers(shared, sweep, &sweep_stop);
    let mut relays: JoinSet<Result<(), Error>> = JoinSet::new();
    let token = relay_stop.clone();
    relays.spawn(async move { Ok(relay.run(token).await?) });
    let mut intakes = Intakes {
        shared,
        session,
        looks: looked,
        lanes,
        stops: HashMap::new(),
        tasks: JoinSet::new(),
        standings: mpsc::unbounded_channel(),
    };
    handlers.registry.begin();
    // Before anyone claims a group: it goes to another only where its handler is nowhere.
    tokio::select! {
        () = stop.cancelled() => {}
        () = write(handlers, &intakes) => {}
    }
    for handler in handlers.running.values() {
        intakes.start(handler, &mut handlers.registry);
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
    lived.and(within_grace(shared, wind_down).await)
}

/// Drops what hangs when the grace is over: a stop without Postgres ends too.
async fn within_grace(
    shared: &Shared,
    wind_down: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let grace = shared.config.host.stop_grace.saturating_sub(GOODBYES).max(GOODBYES / 2);
    tokio::time::timeout(grace, wind_down).await.unwrap_or_else(|_| {
        tracing::warn!(
            "The stop did not end within its grace: what is not settled stays pending, and lanes are free after \
             the expiry"
        );
        Ok(())
    })
}

/// Starts what looks after this host's life and after old rows, until the last step of a stop.
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
            Some(ended) = intakes.tasks.join_next() => intake_ended(handlers, intakes, &joined(ended)?),
            Some(standing) = intakes.standings.1.recv() => stands(handlers, intakes, standing),
            Some(ended) = relays.join_next() => joined(ended)?,
            _ = tick.tick() => {}
        }
        intakes.shared.readiness.handlers(handlers.why_not());
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = write(handlers, intakes) => {}
        }
    }
}

async fn write(handlers: &mut Handlers, intakes: &Intakes<'_>) {
    if let Err(error) = handlers.registry.write(&intakes.shared.db, intakes.session.id).await {
        tracing::debug!(%error, "The registry of handlers is written later");
    }
}

fn changed(handlers: &mut Handlers, intakes: &mut Intakes<'_>, change: Change) {
    match change {
        Change::Compiling(name) => {
            handlers.leaving.remove(&name);
            let compiling = Shown::without_version(&name, &intakes.shared.config.namespace, "compiling");
            handlers.registry.show(name, compiling);
        }
        Change::Running(handler) => {
            handlers.leaving.remove(&handler.name);
            handlers.waiting.remove(&handler.name);
            handlers.show(&handler);
            handlers.running.insert(handler.name.clone(), Arc::clone(&handler));
            intakes.start(&handler, &mut handlers.registry);
        }
        Change::Swapped(handler) => handlers.show(&handler),
        Change::Refused { name, reason, keeps } => {
            handlers.leaving.remove(&name);
            if keeps.is_some() && handlers.registry.has(&name) {
                handlers.registry.amend(&name, |shown| shown.last_error = Some(reason));
            } else {
                let refused = Shown::without_version(&name, &intakes.shared.config.namespace, "refused");
                handlers.registry.show(name, Shown { last_error: Some(reason), ..refused });
            }
        }
        Change::Listed => handlers.listed = true,
        Change::Removed(name) => {
            handlers.running.remove(&name);
            handlers.waiting.remove(&name);
            if intakes.stop(&name) {
                handlers.leaving.insert(name);
            } else {
                handlers.removed(&name);
            }
        }
    }
}

/// A handler's work ended: it begins anew where the handler is still there, in another form.
fn intake_ended(handlers: &mut Handlers, intakes: &mut Intakes<'_>, name: &HandlerName) {
    intakes.stops.remove(name);
    handlers.registry.ended(name);
    if let Some(handler) = handlers.running.get(name) {
        intakes.start(handler, &mut handlers.registry);
    } else if handlers.leaving.contains(name) {
        handlers.removed(name);
    }
}

/// A handler waits for its group or its consumer, or has waited.
fn stands(handlers: &mut Handlers, intakes: &Intakes<'_>, standing: Standing) {
    let (Standing::Waits { name, .. } | Standing::WithoutConsumer { name, .. } | Standing::Works(name)) =
        &standing;
    // What it says may be of a work that was stopped since.
    let stopped = intakes.stops.get(name).is_none_or(CancellationToken::is_cancelled);
    let Some(handler) = handlers.running.get(name).filter(|_| !stopped).cloned() else { return };
    match standing {
        Standing::Waits { name, by } => {
            let reason = format!(
                "consumer group {} belongs to handler {by}: give {name} another with `group` in {name}.toml; \
                 until then, or until {by} is gone from all hosts, it waits",
                handler.group
            );
            tracing::error!(handler.name = %name, "{reason}");
            handlers.waiting.insert(name, reason);
        }
        Standing::WithoutConsumer { name, reason } => {
            let reason = format!("its consumer cannot be made, and is tried again: {reason}");
            tracing::error!(handler.name = %name, "Handler {name} does not run: {reason}");
            handlers.waiting.insert(name, reason);
        }
        Standing::Works(name) => {
            tracing::info!(handler.name = %name, "Handler {name} has consumer group {} now and runs", handler.group);
            handlers.waiting.remove(&name);
        }
    }
    handlers.show(&handler);
}

fn joined<T>(ended: Result<Result<T, Error>, JoinError>) -> Result<T, Error> {
    ended.unwrap_or_else(|error| Err(Error::LoopEnded(error.to_string())))
}
