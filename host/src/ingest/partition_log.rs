//! What is known of a partition's log beside the machine: which topic it is of, and how far it was read.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use mailroom_core::ids::TopicPartition;
use mailroom_core::time::Moment;
use mailroom_core::topic::VouchedOffsets;
use tokio::time::Instant;
use uuid::Uuid;

use super::positions::Position;
use crate::db::offsets::StoredRecord;
use crate::message::Record;

/// A failure to find a position that lasts longer is named in the log.
const NAMED_AFTER: Duration = Duration::from_secs(5);

/// A partition's log as it was last found.
#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    /// The position, unless it is looked for.
    pub(super) found: Option<FoundLog>,
    /// Offsets that may be of another topic than before, since its id has changed.
    pub(super) doubtful: Option<Range<i64>>,
    search: Search,
}

/// A log whose partition is fetched, or stopped.
#[derive(Debug)]
pub(super) struct FoundLog {
    /// Nil where the cluster has no topic ids.
    pub(super) topic_id: Uuid,
    /// Moment at which that was asked for.
    pub(super) found_at: Moment,
    /// Part that was read while the topic surely had this id.
    pub(super) vouched: VouchedOffsets,
    /// The offset that comes next.
    pub(super) next: i64,
    /// Records that were stored before the topic was seen to be another one, and come again.
    passed_over: HashSet<StoredRecord>,
    pub(super) stopped: bool,
}

/// The search for a position that could not be found at once.
#[derive(Debug, Default)]
struct Search {
    began: Option<Instant>,
    is_named: bool,
}

impl PartitionLog {
    /// Takes the position that was found.
    pub(super) fn found(&mut self, position: Position) {
        let Position { topic_id, found_at, next, passed_over, stopped, .. } = position;
        self.found = Some(FoundLog {
            topic_id,
            found_at,
            vouched: VouchedOffsets::from(next, found_at),
            next,
            passed_over,
            stopped,
        });
        self.doubtful = None;
        self.search = Search::default();
    }

    /// Notes that the position was not found, and names that once it lasts.
    pub(super) fn not_found(&mut self, partition: &TopicPartition, error: &dyn std::fmt::Display) {
        let now = Instant::now();
        let began = *self.search.began.get_or_insert(now);
        if now - began >= NAMED_AFTER && !self.search.is_named {
            self.search.is_named = true;
            let TopicPartition { topic, partition } = partition;
            tracing::warn!(
                %error,
                "Partition {partition} of topic {topic} is not read: its position is still looked for"
            );
        } else {
            tracing::debug!(%error, "Looking for the position of {partition}");
        }
    }
}

impl FoundLog {
    /// Tells whether the record was stored before its topic was seen to be another one.
    pub(super) fn passes_over(&mut self, record: &Record) -> bool {
        !self.passed_over.is_empty()
            && self.passed_over.remove(&(record.offset, record.timestamp_ms, record.key.clone()))
    }
}
