//! Runs a handler's messages: keys side by side, the messages of a key one after another.
//!
//! A fresh message may be handled before it has a row: what is decided in time is inserted as it was decided, what
//! is not as pending.
//!
//! Invariants: a message of a key is started only after those before it were decided, and settled only
//! with or after them; a key has at most one open settlement; nothing starts that might outlast this
//! host's own expiry. The worker knows nothing of Kafka.

mod call;
mod calls;
mod caution;
mod decisions;
mod entry;
mod fresh;
mod holding;
mod in_hand;
mod queues;
mod settling;
mod work;

use std::sync::Arc;

pub(crate) use call::Guests;
pub(crate) use entry::Entry;
pub(crate) use in_hand::{InHand, Weight};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::db::Db;
use crate::handler::Handler;
use crate::inbox::Standing;
use crate::lane::{Lease, Session};
use crate::settle::Fresh;
use crate::sweep::Breakers;

/// What ingest has for the worker.
#[derive(Debug)]
pub(crate) enum Feed {
    /// A lane is ours, with its topic and the keys that do not simply go on.
    Opened(Lease, Arc<str>, Standing),
    /// Records that have no row yet, by lane, to be handled and stored, or `stored_first`.
    Fresh { fresh: Vec<Fresh>, stored_first: bool },
    /// Messages of opened lanes that were read, in the order of their `seq` within each lane.
    Messages(Vec<Entry>),
    /// The lane is read from its start again, since its counter rose to this: nothing of it starts before all
    /// of it was read.
    Reread { lane: i32, counter: i64 },
    /// All of the lane was read but what is held; these keys were blocked as of then. What raised its
    /// counter to this was seen.
    CaughtUp { lane: i32, blocked: Vec<(i64, bool)>, as_of: Instant, counter: i64 },
    /// These lanes are to be given up: what runs is settled, then they are released.
    Closed(Vec<i32>),
}

/// The worker of one handler, for one session.
pub(crate) struct Worker {
    pub(crate) config: Arc<Config>,
    pub(crate) db: Db,
    pub(crate) session: Arc<Session>,
    pub(crate) handler: Arc<Handler>,
    pub(crate) guests: Guests,
    pub(crate) feed: mpsc::Receiver<Feed>,
    pub(crate) in_hand: Arc<InHand>,
    /// Which breakers are open.
    pub(crate) breakers: watch::Receiver<Breakers>,
    /// Told when something was emitted.
    pub(crate) outbox_wake: Arc<Notify>,
}

impl Worker {
    /// Works until it is stopped or the session ends. After a stop what runs is settled, within the
    /// grace, and the lanes are given back.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let session = Arc::clone(&self.session);
        let mut work = work::Work::new(self);
        loop {
            tokio::select! {
                biased;
                () = session.ended().cancelled() => return,
                () = stop.cancelled() => {
                    work.finish().await;
                    return;
                }
                step = work.next() => work.take(step),
            }
        }
    }
}
