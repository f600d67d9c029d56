//! The wiring: the only place where loops are spawned. A loop that ends, but for a stop, ends the process.
//!
//! Start: Postgres and its schema are waited for, then this host's life begins: it is registered, and
//! handlers, relay and sweep work in it. A host that is buried begins a new life in the same process.

mod descriptors;
mod intake;
mod life;
mod registry;

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{AdminError, Backend, Port, Pulse, Readable};
use crate::config::Config;
use crate::db::migrate::SchemaError;
use crate::db::wake::{self, Listener};
use crate::db::{Db, DbError, migrate};
use crate::handler::{CompilePace, Engine, EngineError, EngineSettings, Folder, FolderError, Handler};
use crate::kafka::{KafkaError, TopicWatch, Topics};
use crate::metrics::backlog::BacklogWatch;
use crate::metrics::{Metrics, MetricsError};
use crate::readiness::Readiness;
use crate::worker::Guests;
use crate::{sequences, sweep};

/// Reason why a host ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The database is not as this binary needs it, or refuses it.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A setting of Postgres.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A setting of Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The engine for components.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The drop folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The admin port.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Instruments could not be made, or not be read.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The system gives no threads.
    #[error("no threads for guests: {0}")]
    Threads(#[from] std::io::Error),
    /// A loop ended that must not end.
    #[error("a loop of the host ended: {0}")]
    LoopEnded(String),
}

/// Parts that the loops of a life share.
#[derive(Clone)]
struct Shared {
    config: Arc<Config>,
    db: Db,
    topics: TopicWatch,
    guests: Guests,
    metrics: Metrics,
    readiness: Readiness,
    /// Something was written to the outbox.
    outbox_wake: Arc<Notify>,
    /// An operator touched rows of a lane.
    inbox_wake: Arc<Notify>,
}

/// Runs the host until it is stopped, with these native handlers beside those of the drop folder.
///
/// # Errors
/// See [`Error`]. Postgres or Kafka being away is no error, nor is what either refuses until an operator acts: the host
/// waits, says so, and goes on.
pub(crate) async fn run(
    config: Arc<Config>,
    natives: Vec<Arc<Handler>>,
    pace: CompilePace,
    stop: CancellationToken,
) -> Result<(), Error> {
    descriptors::raise_limit();
    // Before anything is waited for: what is set and cannot be had ends the process at once.
    let port = Port::open(&config.admin).await?;
    let guests = Guests::new(config.worker.threads)?;
    let settings = EngineSettings {
        http: Some(config.http.clone()),
        pace,
        ..EngineSettings::of(&config.host, &config.limits, config.worker.concurrency)
    };
    let engine = Engine::new(settings, guests.handle().clone())?;
    let db = Db::new(&config.postgres, &config.sql)?;
    let topics = TopicWatch::new(Topics::new(&config.kafka)?);
    let metrics = if port.is_some() { Metrics::new(&config.host.worker)? } else { Metrics::unread() };
    metrics.observe_servers(&db, &topics.health());
    let shared = Shared {
        readiness: Readiness::new(db.health(), topics.health(), stop.clone()),
        db,
        topics,
        guests,
        metrics,
        outbox_wake: Arc::new(Notify::new()),
        inbox_wake: Arc::new(Notify::new()),
        config: Arc::clone(&config),
    };
    warn_of_limits(&config);
    let admin_stop = CancellationToken::new();
    let mut admin = JoinSet::new();
    if let Some(port) = port {
        admin.spawn(read(port, &shared, admin_stop.clone()));
    }
    let is_read = !admin.is_empty();
    let mut work = std::pin::pin!(work(&shared, engine, natives, &stop, is_read));
    let ended = tokio::select! {
        ended = &mut work => ended,
        Some(_) = admin.join_next() => {
            stop.cancel();
            work.await.and(Err(Error::LoopEnded("the admin port was not asked to".to_owned())))
        }
    };
    // What is read of a stop is read until its end.
    admin_stop.cancel();
    tokio::join!(shared.db.close(), async { while admin.join_next().await.is_some() {} });
    ended
}

/// The loops of the admin port, as one.
fn read(port: Port, shared: &Shared, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
    let pulse = Pulse::default();
    let readable = Readable {
        metrics: shared.metrics.clone(),
        readiness: shared.readiness.clone(),
        pulse: pulse.clone(),
        backend: Backend::new(
            shared.db.clone(),
            Arc::clone(&shared.config),
            Some(shared.topics.topics.clone()),
        ),
    };
    async move {
        tokio::join!(pulse.run(stop.clone()), port.serve(readable, stop));
    }
}

/// Works until it is stopped. `is_read` tells whether anybody can read metrics.
async fn work(
    shared: &Shared,
    engine: Arc<Engine>,
    natives: Vec<Arc<Handler>>,
    stop: &CancellationToken,
    is_read: bool,
) -> Result<(), Error> {
    let config = &shared.config;
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        ready = schema_ready(&shared.db) => ready?,
    }
    shared.readiness.is_migrated();
    let mut loops: JoinSet<Result<(), Error>> = JoinSet::new();
    let (sender, changes) = mpsc::channel(64);
    let folder = Folder::new(config.host.handlers.clone(), Arc::clone(&engine), Arc::clone(config), natives);
    let (folder_stop, tend_stop) = (stop.clone(), stop.clone());
    loops.spawn(async move { Ok(folder.run(sender, folder_stop).await?) });
    loops.spawn(async move {
        engine.tend(tend_stop).await;
        Ok(())
    });
    loops.spawn(listen(shared.clone(), stop.clone()));
    let (topics, topics_stop) = (shared.topics.clone(), stop.clone());
    loops.spawn(async move {
        topics.run(topics_stop).await;
        Ok(())
    });
    let (of_sequences, sequences_stop) = (shared.db.clone(), stop.clone());
    loops.spawn(async move {
        sequences::watch(of_sequences, sequences_stop).await;
        Ok(())
    });
    if is_read {
        let (backlog, backlog_stop) = (backlog(shared), stop.clone());
        loops.spawn(async move {
            backlog.run(backlog_stop).await;
            Ok(())
        });
    }
    loops.spawn(lives(shared.clone(), changes, stop.clone()));
    let mut ended = Ok(());
    while let Some(joined) = loops.join_next().await {
        let result = joined.unwrap_or_else(|error| Err(Error::LoopEnded(error.to_string())));
        if result.is_err() && ended.is_ok() {
            ended = result;
        } else if !stop.is_cancelled() && ended.is_ok() {
            ended = Err(Error::LoopEnded("it was not asked to".to_owned()));
        }
        stop.cancel();
    }
    ended
}

fn backlog(shared: &Shared) -> BacklogWatch {
    BacklogWatch {
        db: shared.db.clone(),
        topics: shared.topics.topics.clone(),
        brokers: shared.config.kafka.brokers.clone(),
        every: shared.config.admin.backlog_every,
        metrics: shared.metrics.clone(),
    }
}

fn warn_of_limits(config: &Config) {
    for key in &config.postgres.above_limit {
        let (statement, lock) = config.postgres.of_host();
        tracing::warn!(
            "{key} holds for commands only: with host.expiry = {:?} the host's own statements have {statement:?}, and \
             wait {lock:?} for a lock",
            config.host.expiry
        );
    }
}

/// Waits for Postgres, and for whoever has to let this host in; its schema must be this binary's.
async fn schema_ready(db: &Db) -> Result<(), Error> {
    let mut outage = db.outage();
    loop {
        match migrate::check_for_host(db).await {
            Ok(()) => {
                outage.over();
                db.health().answered();
                return Ok(());
            }
            Err(SchemaError::Db(error)) => {
                db.health().failed(&error.with_remedy());
                tokio::time::sleep(outage.failed_as(error.urgency(), &error)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// One life after the other.
async fn lives(
    shared: Shared,
    changes: mpsc::Receiver<crate::handler::Change>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut handlers = life::Handlers::new(changes);
    let mut outage = shared.db.outage();
    let mut was = None;
    while !stop.is_cancelled() {
        let begun = tokio::select! {
            () = stop.cancelled() => break,
            begun = sweep::begin(&shared.db, &shared.config, was) => begun,
        };
        let session = match begun {
            Ok(session) => session,
            Err(error) => {
                shared.db.health().failed(&error.with_remedy());
                let wait = outage.failed_as(error.urgency(), &error);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(wait) => continue,
                }
            }
        };
        outage.over();
        shared.db.health().answered();
        shared.readiness.session(None);
        was = Some(session.id);
        tracing::info!(
            host = %session.id,
            "Host {} works; handlers are taken from {}",
            shared.config.host.worker, shared.config.host.handlers.display()
        );
        life::live(&shared, &session, &mut handlers, &stop).await?;
        if !stop.is_cancelled() {
            let why = "others took this host for dead; it registers again";
            shared.readiness.session(Some(why.to_owned()));
        }
    }
    Ok(())
}

/// Passes wake-ups on. Polling is the truth: an outage here costs latency only.
async fn listen(shared: Shared, stop: CancellationToken) -> Result<(), Error> {
    if !shared.db.can_listen() {
        stop.cancelled().await;
        return Ok(());
    }
    let mut outage = shared.db.outage();
    let mut listener = None;
    while !stop.is_cancelled() {
        let heard = async {
            let listener = match &mut listener {
                Some(listener) => listener,
                none @ None => none.insert(Listener::connect(&shared.db).await?),
            };
            listener.next().await
        };
        let heard = tokio::select! {
            () = stop.cancelled() => break,
            heard = heard => heard,
        };
        match heard {
            Ok(channel) => {
                outage.over();
                if channel == wake::INBOX {
                    shared.inbox_wake.notify_one()
                } else {
                    shared.outbox_wake.notify_one()
                }
            }
            Err(error) => {
                listener = None;
                let wait = outage.failed_as(error.urgency(), &error);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
    Ok(())
}
