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

use crate::config::Config;
use crate::db::migrate::SchemaError;
use crate::db::wake::{self, Listener};
use crate::db::{Db, DbError, Meaning, migrate};
use crate::handler::{Engine, EngineError, EngineSettings, Folder, FolderError, Handler};
use crate::kafka::{KafkaError, TopicWatch, Topics};
use crate::sweep;
use crate::worker::Guests;

/// Why a host ended, or did not begin.
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
    /// The system gives no threads.
    #[error("no threads for guests: {0}")]
    Threads(#[from] std::io::Error),
    /// A loop ended that must not end.
    #[error("a loop of the host ended: {0}")]
    LoopEnded(String),
}

/// What the loops of a life share.
#[derive(Clone)]
struct Shared {
    config: Arc<Config>,
    db: Db,
    topics: TopicWatch,
    guests: Guests,
    /// Something was written to the outbox.
    outbox_wake: Arc<Notify>,
    /// An operator touched rows of a lane.
    inbox_wake: Arc<Notify>,
}

/// Runs the host until it is stopped, with these native handlers beside those of the drop folder.
///
/// # Errors
/// See [`Error`]. Postgres or Kafka being away is no error: the host waits, says so, and goes on.
pub(crate) async fn run(
    config: Arc<Config>,
    natives: Vec<Arc<Handler>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    descriptors::raise_limit();
    let guests = Guests::new(config.worker.threads)?;
    let settings = EngineSettings {
        http: Some(config.http.clone()),
        ..EngineSettings::of(&config.host, &config.limits, config.worker.concurrency)
    };
    let engine = Engine::new(settings, guests.handle().clone())?;
    let shared = Shared {
        db: Db::new(&config.postgres, &config.sql)?,
        topics: TopicWatch::new(Topics::new(&config.kafka)?),
        guests,
        outbox_wake: Arc::new(Notify::new()),
        inbox_wake: Arc::new(Notify::new()),
        config: Arc::clone(&config),
    };
    for key in &config.postgres.above_limit {
        let (statement, lock) = config.postgres.of_host();
        tracing::warn!(
            "{key} holds for commands only: with host.expiry = {:?} the host's own statements have {statement:?}, and \
             wait {lock:?} for a lock",
            config.host.expiry
        );
    }
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        ready = schema_ready(&shared.db) => ready?,
    }
    let mut loops: JoinSet<Result<(), Error>> = JoinSet::new();
    let (sender, changes) = mpsc::channel(64);
    let folder = Folder::new(config.host.handlers.clone(), Arc::clone(&engine), Arc::clone(&config), natives);
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
    shared.db.close().await;
    ended
}

/// Waits for Postgres; its schema must be this binary's.
async fn schema_ready(db: &Db) -> Result<(), Error> {
    let mut outage = db.outage();
    loop {
        match migrate::check_for_host(db).await {
            Ok(()) => {
                outage.over();
                return Ok(());
            }
            Err(SchemaError::Db(error)) if matches!(error.meaning(), Meaning::Outage | Meaning::Retry) => {
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
                let wait = outage.failed_as(error.urgency(), &error);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(wait) => continue,
                }
            }
        };
        outage.over();
        was = Some(session.id);
        tracing::info!(
            host = %session.id,
            "Host {} works; handlers are taken from {}",
            shared.config.host.worker, shared.config.host.handlers.display()
        );
        life::live(&shared, &session, &mut handlers, &stop).await?;
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
