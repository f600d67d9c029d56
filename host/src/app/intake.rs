//! One handler at work in one life: it claims its group, then it works.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::descriptors::room_for_a_consumer;
use super::registry::Shown;
use super::{Error, Shared};
use crate::config::HandlerName;
use crate::db::handlers;
use crate::handler::Handler;
use crate::ingest::Ingest;
use crate::lane::Session;
use crate::reminder::Reminder;
use crate::worker::{HostLook, LaneBook, Worker};

/// A handler that is on its way out, as one whose file got another name, holds its group for a moment: no word
/// of it is said before.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two tries while patience lasts, and afterwards.
const TRY_EVERY: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));

/// Pause between two tries to make a consumer.
const JOIN_EVERY: Duration = Duration::from_secs(5);

/// Ties of a handler's work to the sweep.
pub(super) struct FromSweep {
    /// Looks at this host's lanes, breakers and pauses.
    pub(super) looks: watch::Receiver<Arc<HostLook>>,
    /// Book of the lanes that handlers here have.
    pub(super) lanes: LaneBook,
}

/// Relation of a handler to its consumer group.
#[derive(Debug)]
pub(super) enum Standing {
    /// The group belongs to another handler: it waits until that is gone.
    Waits { name: HandlerName, by: String },
    /// The handler has the group and no consumer: it tries again.
    WithoutConsumer { name: HandlerName, reason: String },
    /// The handler waited, and now works.
    Works(HandlerName),
}

/// Takes the handler's messages in and works them off until it is stopped or the session ends; gives its name.
pub(super) async fn run(
    shared: Shared,
    session: Arc<Session>,
    handler: Arc<Handler>,
    sweep: FromSweep,
    standings: mpsc::UnboundedSender<Standing>,
    stop: CancellationToken,
) -> Result<HandlerName, Error> {
    let name = handler.name.clone();
    tokio::select! {
        () = stop.cancelled() => return Ok(name),
        () = session.ended().cancelled() => return Ok(name),
        () = claim(&shared, session.id, &handler, &standings) => {}
    }
    let worker = Worker {
        config: Arc::clone(&shared.config),
        db: shared.db.clone(),
        session,
        handler,
        guests: shared.guests.clone(),
        topics: shared.topics.clone(),
        metrics: shared.metrics.clone(),
        looks: sweep.looks,
        lanes: sweep.lanes,
        outbox_wake: Arc::clone(&shared.outbox_wake),
    };
    let ingest = tokio::select! {
        () = stop.cancelled() => return Ok(name),
        () = worker.session.ended().cancelled() => return Ok(name),
        ingest = join(&worker, &standings) => ingest,
    };
    worker.run(ingest, stop).await;
    Ok(name)
}

/// Joins the consumer group, however long a consumer cannot be made: the other handlers go on.
async fn join(worker: &Worker, standings: &mpsc::UnboundedSender<Standing>) -> Ingest {
    let mut reminder = Reminder::default();
    let name = &worker.handler.name;
    loop {
        let error = match room_for_a_consumer().map(|()| Ingest::new(worker)) {
            Ok(Ok(ingest)) => {
                if reminder.was_said() {
                    tell(standings, Standing::Works(name.clone()));
                }
                return ingest;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if reminder.is_due(Instant::now()) {
            tell(standings, Standing::WithoutConsumer { name: name.clone(), reason: error });
        }
        tokio::time::sleep(JOIN_EVERY).await;
    }
}

fn tell(standings: &mpsc::UnboundedSender<Standing>, standing: Standing) {
    if standings.send(standing).is_err() {
        tracing::debug!("This life has ended");
    }
}

/// Waits until the consumer group is the handler's.
async fn claim(shared: &Shared, host: Uuid, handler: &Handler, standings: &mpsc::UnboundedSender<Standing>) {
    let mut outage = shared.db.outage();
    let namespace = shared.config.namespace.as_str();
    let (began, mut told) = (Instant::now(), None);
    loop {
        let shown = Shown::running(handler);
        match handlers::claim_group(&shared.db, host, namespace, &shown.entry(&handler.name)).await {
            Ok(owner) if owner == handler.name.as_str() => {
                if told.is_some() {
                    tell(standings, Standing::Works(handler.name.clone()));
                }
                return;
            }
            Ok(by) => {
                outage.over();
                if began.elapsed() >= PATIENCE && told.as_ref() != Some(&by) {
                    tell(standings, Standing::Waits { name: handler.name.clone(), by: by.clone() });
                    told = Some(by);
                }
                tokio::time::sleep(if told.is_none() { TRY_EVERY.0 } else { TRY_EVERY.1 }).await;
            }
            Err(error) => tokio::time::sleep(outage.failed_as(error.urgency(), &error)).await,
        }
    }
}
