//! What gives a host the right to work on a lane: its own life, and the lane's token.
//!
//! Invariant: nothing is started under a lease that might not outlast it, and nothing is written
//! without the lane's token. Who takes and releases lanes is `sweep`'s, `ingest`'s and `relay`'s business.

mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

pub(crate) use session::{Moment, Session};
use tokio_util::sync::CancellationToken;

/// A lane that this host owns.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) lane: i32,
    pub(crate) token: i64,
    lost: CancellationToken,
    notes: Arc<Notes>,
}

/// What those who work on the lane tell each other.
#[derive(Debug)]
struct Notes {
    /// The lane's reread counter as it was last seen in the table, and as the owner last acted on it.
    reread_seen: AtomicI64,
    reread_done: AtomicI64,
    /// Rows up to this `seq` were stored for being read later.
    stored_to: AtomicI64,
    /// Another host waits for the lane.
    wanted: AtomicBool,
}

impl Lease {
    /// A lane taken in this session, with its reread counter of then.
    pub(crate) fn new(lane: i32, token: i64, reread: i64, session: &Session) -> Self {
        let lost = session.ended().child_token();
        let notes = Notes {
            reread_seen: AtomicI64::new(reread),
            reread_done: AtomicI64::new(reread),
            stored_to: AtomicI64::new(0),
            wanted: AtomicBool::new(false),
        };
        Self { lane, token, lost, notes: Arc::new(notes) }
    }

    /// The counter was seen in the table; gives whether it has risen since the owner last acted on it.
    pub(crate) fn saw_reread(&self, counter: i64) -> bool {
        self.notes.reread_seen.fetch_max(counter, Ordering::Relaxed);
        self.notes.reread_done.load(Ordering::Relaxed) < counter
    }

    /// Whether the lane is to be read from its start before anything new is handed over.
    pub(crate) fn wants_reread(&self) -> bool {
        self.notes.reread_done.load(Ordering::Relaxed) < self.notes.reread_seen.load(Ordering::Relaxed)
    }

    /// The counter on which the owner acted last.
    pub(crate) fn reread_done(&self) -> i64 {
        self.notes.reread_done.load(Ordering::Relaxed)
    }

    /// Whether the lane is to be read from its start; asking counts as acting on it.
    pub(crate) fn take_reread(&self) -> bool {
        let seen = self.notes.reread_seen.load(Ordering::Relaxed);
        self.notes.reread_done.swap(seen, Ordering::Relaxed) < seen
    }

    /// Rows up to this `seq` were stored for being read later.
    pub(crate) fn stored(&self, seq: i64) {
        self.notes.stored_to.fetch_max(seq, Ordering::Release);
    }

    /// Up to which `seq` rows were stored for being read later.
    pub(crate) fn stored_to(&self) -> i64 {
        self.notes.stored_to.load(Ordering::Acquire)
    }

    /// The table says whether another host waits for it.
    pub(crate) fn saw_wanted(&self, wanted: bool) {
        self.notes.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Whether another host waits for it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.notes.wanted.load(Ordering::Relaxed)
    }

    /// Another has it, or the session that took it ended: whatever is in hand is dropped.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Marks it as lost, for all who hold it.
    pub(crate) fn lose(&self) {
        self.lost.cancel();
    }
}
