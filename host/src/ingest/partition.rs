//! A partition whose lane this host has or waits for.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use mailroom_core::time::Moment;
use mailroom_core::topic::VouchedOffsets;
use tokio::time::Instant;
use uuid::Uuid;

use crate::db::offsets::StoredRecord;
use crate::kafka::Place;
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
    /// Offsets that may be of another topic than before, since its id has changed.
    pub(super) doubtful: Option<Range<i64>>,
    pub(super) search: Search,
}

/// The search for a position that could not be found at once.
#[derive(Debug, Default)]
pub(super) struct Search {
    began: Option<Instant>,
    due: Option<Instant>,
    wait: Duration,
    is_named: bool,
}

impl Search {
    const FIRST_WAIT: Duration = Duration::from_millis(100);
    const LONGEST_WAIT: Duration = Duration::from_secs(5);
    /// A failure that lasts longer is named in the log.
    const NAMED_AFTER: Duration = Duration::from_secs(5);

    /// Whether it is time to try.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    /// Only this partition waits; the others go on.
    pub(super) fn failed(&mut self, place: &Place, error: &dyn std::fmt::Display) {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        self.wait = (self.wait * 2).clamp(Self::FIRST_WAIT, Self::LONGEST_WAIT);
        self.due = Some(now + self.wait);
        let Place { topic, partition } = place;
        if now - began >= Self::NAMED_AFTER && !self.is_named {
            self.is_named = true;
            tracing::warn!(%error, "Partition {partition} of topic {topic} is not read: its position is still looked for");
        } else {
            tracing::debug!(%error, "Looking for the position of partition {partition} of topic {topic}");
        }
    }
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
    /// Nil where the cluster has no topic ids.
    pub(super) topic_id: Uuid,
    /// When that was asked for.
    pub(super) found_at: Moment,
    /// What was read while the topic surely had this id.
    pub(super) vouched: VouchedOffsets,
    /// The offset that comes next.
    pub(super) next: i64,
    /// Records before this offset are stored before they are handled: one of them may have killed the
    /// process that had them before.
    pub(super) careful_to: i64,
    /// Records that were stored before the topic was seen to be another one, and come again.
    pub(super) passed_over: HashSet<StoredRecord>,
    /// The gap policy says stop: nothing is fetched until an operator acts.
    pub(super) stopped: bool,
}

impl Partition {
    /// One that Kafka gave us.
    pub(super) fn assigned() -> Self {
        Self { assigned: true, lane: None, position: None, doubtful: None, search: Search::default() }
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
