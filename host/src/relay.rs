//! Driver of the relay of outbox rows to Kafka records. `mailroom_core::relay` decides; here its commands are
//! done, with Postgres and Kafka, and what came of them is told to it.

mod event_loop;
mod outlets;
mod record;

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::db::Db;
use crate::kafka::KafkaError;
use crate::lane::{Lease, Session};
use crate::metrics::Metrics;
use event_loop::RelayLoop;
use mailroom_core::relay::Settings;

/// Decision of the sweep about the relay's lanes.
#[derive(Debug)]
pub(crate) enum LaneChange {
    /// The lane is ours now.
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
    pub(crate) metrics: Metrics,
}

impl Relay {
    /// Publishes until it is stopped or the session ends. After a stop what is in flight is awaited and
    /// marked, and the lanes are given back.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), KafkaError> {
        let (session, grace) = (Arc::clone(&self.session), self.config.host.calls_grace());
        let mut relay = RelayLoop::new(self)?;
        tokio::select! {
            biased;
            () = session.ended().cancelled() => {}
            () = stop.cancelled() => {
                tokio::select! {
                    biased;
                    () = session.ended().cancelled() => {}
                    finished = timeout(grace, relay.finish()) => {
                        if let Ok(finished) = finished {
                            finished?;
                        }
                        relay.give_back().await;
                    }
                }
            }
            ended = relay.work() => return ended,
        }
        relay.end().await;
        Ok(())
    }
}

fn settings(relay: &config::Relay) -> Settings {
    Settings {
        batch_rows_max: relay.batch_rows_max,
        in_flight_max: relay.in_flight_max,
        in_flight_bytes_max: relay.in_flight_bytes_max,
        publish_timeout: relay.publish_timeout,
        poll_min: relay.poll_min,
        poll_max: relay.poll_max,
        wake: relay.wake,
    }
}
