//! Right of a host to work on a lane: its own life, and the lane's token.
//!
//! Invariant: nothing is started under a lease that might not outlast it, and nothing is written
//! without the lane's token. Who takes and releases lanes is `sweep`'s, `worker`'s and `relay`'s business.

mod session;
mod settle_key;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use mailroom_core::ids::{self, LaneId, LaneToken, RereadCount};
pub(crate) use session::{Moment, Session};
pub(crate) use settle_key::SettleKey;
use tokio_util::sync::CancellationToken;

/// An outbox lane that this host owns.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) lane: i32,
    pub(crate) token: i64,
    lost: CancellationToken,
    rereads: Arc<Rereads>,
}

/// The lane's counter of operators' acts as it was last seen in the table, and as the owner last acted on it.
#[derive(Debug)]
struct Rereads {
    seen: AtomicI64,
    done: AtomicI64,
}

impl Lease {
    /// A lane taken in this session, with its reread counter of then.
    pub(crate) fn new(right: ids::Lease, rereads: RereadCount, session: &Session) -> Self {
        let lost = session.ended().child_token();
        let RereadCount(count) = rereads;
        let rereads = Rereads { seen: AtomicI64::new(count), done: AtomicI64::new(count) };
        Self { lane: right.lane.0, token: right.token.0, lost, rereads: Arc::new(rereads) }
    }

    /// The right to write for the lane.
    pub(crate) fn right(&self) -> ids::Lease {
        ids::Lease { lane: LaneId(self.lane), token: LaneToken(self.token) }
    }

    /// The counter was seen in the table; gives whether it has risen since the owner last acted on it.
    pub(crate) fn saw_reread(&self, counter: i64) -> bool {
        self.rereads.seen.fetch_max(counter, Ordering::Relaxed);
        self.rereads.done.load(Ordering::Relaxed) < counter
    }

    /// Tells whether the lane is to be read from its start; asking counts as acting on it.
    pub(crate) fn take_reread(&self) -> bool {
        let seen = self.rereads.seen.load(Ordering::Relaxed);
        self.rereads.done.swap(seen, Ordering::Relaxed) < seen
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
