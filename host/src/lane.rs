//! What gives a host the right to work on a lane: its own life, and the lane's token.
//!
//! Invariant: nothing is started under a lease that might not outlast it, and nothing is written
//! without the lane's token. Who takes and releases lanes is `sweep`'s, `ingest`'s and `relay`'s business.

mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub(crate) use session::{Moment, Session};
use tokio_util::sync::CancellationToken;

/// A lane that this host owns.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) lane: i32,
    pub(crate) token: i64,
    lost: CancellationToken,
    reread: Arc<Reread>,
}

/// The lane's reread counter: as it was last seen in the table, and as the owner last acted on it.
#[derive(Debug)]
struct Reread {
    seen: AtomicI64,
    done: AtomicI64,
}

impl Lease {
    /// A lane taken in this session, with its reread counter of then.
    pub(crate) fn new(lane: i32, token: i64, reread: i64, session: &Session) -> Self {
        let lost = session.ended().child_token();
        let reread = Arc::new(Reread { seen: AtomicI64::new(reread), done: AtomicI64::new(reread) });
        Self { lane, token, lost, reread }
    }

    /// The counter was seen in the table; gives whether it has risen since the owner last acted on it.
    pub(crate) fn saw_reread(&self, counter: i64) -> bool {
        self.reread.seen.fetch_max(counter, Ordering::Relaxed);
        self.reread.done.load(Ordering::Relaxed) < counter
    }

    /// Whether the lane is to be read from its start before anything new is handed over.
    pub(crate) fn wants_reread(&self) -> bool {
        self.reread.done.load(Ordering::Relaxed) < self.reread.seen.load(Ordering::Relaxed)
    }

    /// Whether the lane is to be read from its start; asking counts as acting on it.
    pub(crate) fn take_reread(&self) -> bool {
        let seen = self.reread.seen.load(Ordering::Relaxed);
        self.reread.done.swap(seen, Ordering::Relaxed) < seen
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
