//! From Kafka records to inbox rows, one consumer group per handler.
//!
//! Invariants: an offset is stored only in the transaction that stores its record; what is handed to
//! the worker is stored; a lane is read from Postgres until nothing is left there, and only then are
//! fresh messages handed over directly. Ingest runs no guest and settles nothing.

mod assignment;
mod backlog;
mod batch;
pub(crate) mod matching;
mod partition;
mod positions;
mod rejoin;
mod reporting;
mod seqs;
mod topic_ids;
mod turn;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::db::Db;
use crate::handler::Handler;
use crate::kafka::{KafkaError, TopicWatch};
use crate::lane::{Lease, Session};
use crate::worker::{Feed, InHand};

/// The ingest of one handler, for one session.
pub(crate) struct Ingest {
    pub(crate) config: Arc<Config>,
    pub(crate) db: Db,
    pub(crate) session: Arc<Session>,
    pub(crate) handler: Arc<Handler>,
    pub(crate) topics: TopicWatch,
    pub(crate) feed: mpsc::Sender<Feed>,
    pub(crate) in_hand: Arc<InHand>,
    /// Where the sweep learns of lanes that were taken.
    pub(crate) leases: mpsc::UnboundedSender<Lease>,
}

impl Ingest {
    /// Reads until it is stopped or the session ends.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), KafkaError> {
        let session = Arc::clone(&self.session);
        let mut turns = turn::Turns::new(self)?;
        loop {
            tokio::select! {
                biased;
                () = session.ended().cancelled() => break,
                () = stop.cancelled() => break,
                step = turns.next() => turns.take(step).await,
            }
        }
        turns.end().await;
        Ok(())
    }
}
