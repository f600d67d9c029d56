//! A partition whose lane this host has or waits for.

use tokio::time::Instant;
use uuid::Uuid;

use crate::lane::Lease;

/// What is known of it. Its lane may be ours before its position in the log is known: what is stored is
/// worked off while Kafka is away.
#[derive(Debug)]
pub(super) struct Partition {
    /// Kafka gave it to us. Otherwise its lane was free, and it is worked off until whom Kafka gave it to
    /// wants the lane.
    pub(super) assigned: bool,
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
    /// The highest `seq` of what was given away to be stored and read later.
    pub(super) away_to: i64,
    /// The last owner died with it: for a while records are stored before they are handled.
    pub(super) abandoned: bool,
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
    /// Records before this offset are stored before they are handled: one of them may have killed the
    /// process that had them before.
    pub(super) careful_to: i64,
    /// The gap policy says stop: nothing is fetched until an operator acts.
    pub(super) stopped: bool,
}

impl Partition {
    /// One that Kafka gave us.
    pub(super) fn assigned() -> Self {
        Self { assigned: true, lane: None, position: None }
    }

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

    /// Whether its lane is to be given to whom Kafka gave the partition.
    pub(super) fn is_anothers(&self) -> bool {
        !self.assigned && self.lane.as_ref().is_none_or(|lane| lane.lease.is_wanted())
    }
}
