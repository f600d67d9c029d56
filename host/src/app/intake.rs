//! One handler at work in one life: its ingest and its worker, side by side.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Error, Shared};
use crate::config::HandlerName;
use crate::db::handlers;
use crate::handler::Handler;
use crate::ingest::Ingest;
use crate::lane::{Lease, Session};
use crate::sweep::Breakers;
use crate::worker::{InHand, Worker};

/// Batches on their way from ingest to the worker.
const FEED_DEPTH: usize = 4;

/// What ties a handler's work to the sweep.
pub(super) struct FromSweep {
    /// Where the sweep learns of lanes that were taken.
    pub(super) leases: mpsc::UnboundedSender<Lease>,
    /// Which breakers are open.
    pub(super) breakers: watch::Receiver<Breakers>,
}

/// How a handler's work ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// As it was asked to.
    Stopped(HandlerName),
    /// The consumer group belongs to another handler.
    GroupTaken { name: HandlerName, by: String },
}

/// Takes the handler's messages in and works them off until it is stopped or the session ends.
pub(super) async fn run(
    shared: Shared,
    session: Arc<Session>,
    handler: Arc<Handler>,
    sweep: FromSweep,
    stop: CancellationToken,
) -> Result<Ended, Error> {
    let name = handler.name.clone();
    let owner = tokio::select! {
        () = stop.cancelled() => return Ok(Ended::Stopped(name)),
        () = session.ended().cancelled() => return Ok(Ended::Stopped(name)),
        owner = claim(&shared, &handler) => owner,
    };
    if owner != handler.name.as_str() {
        return Ok(Ended::GroupTaken { name, by: owner });
    }
    let (sender, feed) = mpsc::channel(FEED_DEPTH);
    let in_hand = Arc::new(InHand::default());
    let ingest = Ingest {
        config: Arc::clone(&shared.config),
        db: shared.db.clone(),
        session: Arc::clone(&session),
        handler: Arc::clone(&handler),
        feed: sender,
        in_hand: Arc::clone(&in_hand),
        leases: sweep.leases,
    };
    let worker = Worker {
        config: Arc::clone(&shared.config),
        db: shared.db.clone(),
        session,
        handler,
        guests: shared.guests.clone(),
        feed,
        in_hand,
        breakers: sweep.breakers,
        outbox_wake: Arc::clone(&shared.outbox_wake),
    };
    // Where ingest ends by itself the worker has nothing to wait for.
    let worker_stop = stop.child_token();
    let ingest = async {
        let ended = ingest.run(stop).await;
        worker_stop.cancel();
        ended
    };
    let (ingest, ()) = tokio::join!(ingest, worker.run(worker_stop.clone()));
    ingest?;
    Ok(Ended::Stopped(name))
}

async fn claim(shared: &Shared, handler: &Handler) -> String {
    let mut outage = shared.db.outage();
    let namespace = shared.config.namespace.to_string();
    loop {
        match handlers::claim_group(&shared.db, &namespace, &handler.group, handler.name.as_str()).await {
            Ok(owner) => return owner,
            Err(error) => tokio::time::sleep(outage.failed(&error)).await,
        }
    }
}
