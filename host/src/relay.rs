//! From outbox rows to Kafka records: read in order, published through one idempotent producer,
//! marked once acknowledged.
//!
//! Invariant: a row is marked only after the broker acknowledged it, and a row of a (topic, key) is
//! handed to the producer only after those before it. When a lane or the producer is lost, everything
//! in flight is purged before anything is published again, so no late record follows its successor.

mod flight;
mod horizon;
mod idle;
mod lanes;
mod record;
mod topics;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::db::Db;
use crate::kafka::KafkaError;
use crate::lane::{Lease, Session};

/// For so long after rows came they are looked for at the shortest interval.
const LINGER: Duration = Duration::from_millis(100);
/// An announced sleep is renewed before it runs out; a dead relay's runs out by itself.
const SLEEP: Duration = Duration::from_secs(10);

/// What the sweep decides about the relay's lanes.
#[derive(Debug)]
pub(crate) enum LaneChange {
    /// It is ours now.
    Taken(Lease),
    /// Another host is to have it: what is in flight is finished, then it is given back.
    Surplus(i32),
}

/// The relay of a host, for one session.
pub(crate) struct Relay {
    pub(crate) config: Arc<Config>,
    pub(crate) db: Db,
    pub(crate) session: Arc<Session>,
    /// Lanes of the outbox that come and go.
    pub(crate) lanes: mpsc::UnboundedReceiver<LaneChange>,
    /// Something was written to the outbox.
    pub(crate) wake: Arc<Notify>,
}

impl Relay {
    /// Publishes until it is stopped or the session ends. After a stop what is in flight is awaited and
    /// marked, and the lanes are given back.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), KafkaError> {
        let session = Arc::clone(&self.session);
        let mut turns = turn::Turns::new(self)?;
        loop {
            tokio::select! {
                biased;
                () = session.ended().cancelled() => {
                    turns.abandon().await;
                    return Ok(());
                }
                () = stop.cancelled() => {
                    turns.finish().await;
                    return Ok(());
                }
                step = turns.next() => turns.take(step).await?,
            }
        }
    }
}
