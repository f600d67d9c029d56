//! Runs a handler in one session: one loop that executes what the handler's machine commands and tells it what came
//! of it.
//!
//! What is known of lanes and messages is the machine's ([`mailroom_core::handler_machine`]), which does no IO. The
//! loop has the consumer, the calls under way, their open transactions and the statements on their way to Postgres.
//!
//! Invariants: each command is answered by one event; a reply that did not come is told as unknown; nothing here
//! decides about a message.

mod calls;
mod dropped;
mod event_loop;
mod executor;
mod judge;
mod looks;
mod remarks;
mod running;
mod taking;
#[cfg(test)]
mod twin;

use std::sync::Arc;

pub(crate) use calls::Guests;
pub(crate) use looks::{HostLook, LaneBook};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::db::Db;
use crate::handler::Handler;
use crate::ingest::Ingest;
use crate::kafka::TopicWatch;
use crate::lane::Session;
use crate::metrics::Metrics;

/// Parts of one handler's work in one session.
pub(crate) struct Worker {
    pub(crate) config: Arc<Config>,
    pub(crate) db: Db,
    pub(crate) session: Arc<Session>,
    pub(crate) handler: Arc<Handler>,
    pub(crate) guests: Guests,
    pub(crate) topics: TopicWatch,
    pub(crate) metrics: Metrics,
    /// Looks at this host's lanes, and at all breakers and pauses.
    pub(crate) looks: watch::Receiver<Arc<HostLook>>,
    /// Book of the lanes that the handlers of this host have.
    pub(crate) lanes: LaneBook,
    /// Told when something was emitted.
    pub(crate) outbox_wake: Arc<Notify>,
}

impl Worker {
    /// Works until it is stopped or the session ends. After a stop what runs is settled, within the grace, and the
    /// lanes are given back.
    pub(crate) async fn run(self, ingest: Ingest, stop: CancellationToken) {
        let session = Arc::clone(&self.session);
        let mut work = event_loop::EventLoop::new(self, ingest);
        loop {
            tokio::select! {
                biased;
                () = session.ended().cancelled() => break,
                () = stop.cancelled() => {
                    work.finish().await;
                    break;
                }
                () = work.turn() => {}
            }
        }
        work.end().await;
    }
}
