//! Knowledge of a partition's log beside the machine's: which topic it is of, and how far it was read.

use std::collections::HashSet;
use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use mailroom_core::ids::TopicPartition;
use mailroom_core::time::Moment;
use mailroom_core::topic::VouchedOffsets;
use tokio::time::Instant;
use uuid::Uuid;

use super::positions::Position;
use super::quiet::Quiet;
use crate::db::offsets::StoredRecord;
use crate::kafka::Damage;
use crate::message::Record;
use crate::reminder::Reminder;
use crate::waits::{Wait, Waits};

/// A failure to find a position that lasts longer is named in the log.
const NAMED_AFTER: Duration = Duration::from_secs(5);
/// A partition is shown as one that gives nothing for so long after that was last said.
const SICK_FOR: Duration = Duration::from_secs(15);

/// A partition's log as it was last found.
#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    /// The position, unless it is looked for.
    pub(super) found: Option<FoundLog>,
    /// Offsets that may be of another topic than before, since its id has changed.
    pub(super) doubtful: Option<Range<i64>>,
    /// Damage in place of what comes next.
    pub(super) damage: Option<Damage>,
    pub(super) quiet: Quiet,
    search: Search,
    /// Time at which the log last told that the partition gives nothing.
    sick: Reminder,
    /// Shows that to others, since it was last met at this moment.
    sick_shown: Option<(Wait, Instant)>,
    leaderless_since: Option<Instant>,
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
    /// Reason why nothing is fetched until an operator acts.
    pub(super) stopped: Option<String>,
    stop: Reminder,
}

/// The search for a position that could not be found at once.
#[derive(Debug, Default)]
struct Search {
    began: Option<Instant>,
    named: Reminder,
    shown: Option<Wait>,
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
            stop: Reminder::default(),
        });
        self.doubtful = None;
        self.damage = None;
        self.quiet = Quiet::of_fetched();
        self.search = Search::default();
    }

    /// Notes that the position was not found, and names that once it lasts.
    pub(super) fn not_found(&mut self, partition: &TopicPartition, error: &dyn Display, waits: &Waits) {
        let now = Instant::now();
        let began = *self.search.began.get_or_insert(now);
        let begin = || waits.begin(format!("the position in {partition}, to read there"), error);
        self.search.shown.get_or_insert_with(begin).lasts(error);
        if now - began >= NAMED_AFTER && self.search.named.is_due(now) {
            let TopicPartition { topic, partition } = partition;
            tracing::warn!(
                %error,
                "Partition {partition} of topic {topic} is not read: its position is looked for since {} s",
                (now - began).as_secs()
            );
        } else {
            tracing::debug!(%error, "Looking for the position of {partition}");
        }
    }

    /// Takes whether a broker leads the partition, and names one that has been without for a while.
    pub(super) fn has_leader(&mut self, partition: &TopicPartition, has: bool, waits: &Waits) {
        if has {
            self.leaderless_since = None;
            return;
        }
        let now = Instant::now();
        if now - *self.leaderless_since.get_or_insert(now) >= NAMED_AFTER {
            let why = "it has no leader, as no broker that has it is alive and in sync";
            self.is_sick(partition, why, waits);
        }
    }

    /// Notes that the partition gives nothing for now, and names it once a minute.
    pub(super) fn is_sick(&mut self, partition: &TopicPartition, error: &str, waits: &Waits) {
        let now = Instant::now();
        let begin = || (waits.begin(format!("{partition}, to read it"), &error), now);
        let (shown, met_at) = self.sick_shown.get_or_insert_with(begin);
        shown.lasts(&error);
        *met_at = now;
        if self.sick.is_due(now) {
            let TopicPartition { topic, partition } = partition;
            tracing::warn!(
                "Partition {partition} of topic {topic} gives nothing for now, and is asked again: {error}"
            );
        }
    }
}

impl PartitionLog {
    /// Notes that the partition gives records.
    pub(super) fn gives(&mut self) {
        self.sick_shown = None;
        self.quiet.ends();
    }

    /// Shows a partition no longer as sick of which nothing was said for a while.
    pub(super) fn tell_no_more(&mut self) {
        self.sick_shown.take_if(|(_, met_at)| met_at.elapsed() >= SICK_FOR);
    }
}

impl FoundLog {
    /// Tells that the partition is stopped, once a minute.
    pub(super) fn tell_stop(&mut self, group: &str, partition: &TopicPartition) {
        let Some(reason) = &self.stopped else { return };
        if self.stop.is_due(Instant::now()) {
            let TopicPartition { topic, partition } = partition;
            tracing::error!(
                messaging.consumer.group.name = %group,
                "Partition {partition} of topic {topic} is stopped: {reason}"
            );
        }
    }

    /// Tells whether the record was stored before its topic was seen to be another one.
    pub(super) fn passes_over(&mut self, record: &Record) -> bool {
        !self.passed_over.is_empty()
            && self.passed_over.remove(&(record.offset, record.timestamp_ms, record.key.clone()))
    }
}
