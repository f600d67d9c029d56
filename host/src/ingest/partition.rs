//! A partition that is assigned to this host.

use tokio::time::Instant;
use uuid::Uuid;

use crate::lane::Lease;

/// What is known of it. Its lane may be ours before its position in the log is known: what is stored is
/// worked off while Kafka is away.
#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) lane: Option<Lane>,
    pub(super) position: Option<Position>,
}

/// Its lane, which is ours.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) lease: Lease,
    /// The highest `seq` that was handed to the worker.
    pub(super) mark: i64,
    /// Whether rows above the mark may lie in Postgres.
    pub(super) backlog: bool,
    /// The keys that were blocked when the reading began, and when that was.
    pub(super) blocked: (Vec<(i64, bool)>, Instant),
}

/// Where it goes on.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) epoch: i64,
    pub(super) topic_id: Option<Uuid>,
    /// The offset that comes next.
    pub(super) next: i64,
    /// The offset that Kafka was told last.
    pub(super) reported: i64,
    /// The gap policy says stop: nothing is fetched until an operator acts.
    pub(super) stopped: bool,
}

impl Partition {
    /// Lane and position, where both are known and records may be stored.
    pub(super) fn live(&mut self) -> Option<(&mut Lane, &mut Position)> {
        match (&mut self.lane, &mut self.position) {
            (Some(lane), Some(position)) if !position.stopped => Some((lane, position)),
            _ => None,
        }
    }

    /// Whether the consumer fetches it.
    pub(super) fn is_fetched(&self) -> bool {
        self.lane.is_some() && self.position.as_ref().is_some_and(|position| !position.stopped)
    }

    /// Whether its lane was lost.
    pub(super) fn is_lost(&self) -> bool {
        self.lane.as_ref().is_some_and(|lane| lane.lease.is_lost())
    }
}
