//! Offsets that Kafka is told about how far we are. It is for people's tools: nothing reads it back.

use std::collections::HashMap;
use std::time::Duration;

use mailroom_core::ids::{LaneId, TopicPartition};
use tokio::time::Instant;

use crate::config::CommitOffset;
use crate::db::offsets::Reached;

/// Kafka is told at most this often.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// Time for which settled offsets are still shown after the last record came.
const SHOWS_FOR: Duration = Duration::from_secs(5);

/// Offsets that Kafka was told.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    told: HashMap<TopicPartition, i64>,
    looks: bool,
    looked_at: Option<Instant>,
    moved_at: Option<Instant>,
    /// Some partition is not where it could be: messages of it are unsettled.
    behind: bool,
}

impl Reporting {
    /// Notes that records came.
    pub(super) fn moved(&mut self) {
        self.moved_at = Some(Instant::now());
    }

    /// Tells whether it is time to look how far partitions are.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let within = |at: Option<Instant>, span| at.is_some_and(|at| now - at < span);
        let wanted = self.behind || within(self.moved_at, SHOWS_FOR) || self.looked_at.is_none();
        let pause = if self.behind && !within(self.moved_at, SHOWS_FOR) { SHOWS_FOR } else { REPORT_EVERY };
        wanted && !self.looks && !within(self.looked_at, pause)
    }

    /// Notes that a look begins.
    pub(super) fn looks(&mut self) {
        self.looks = true;
        self.looked_at = Some(Instant::now());
    }

    /// Takes how far lanes are; gives the partitions that have moved since Kafka was told. `on-success`: not beyond
    /// the first message that is not settled.
    pub(super) fn reached(
        &mut self,
        lanes: Vec<(TopicPartition, LaneId)>,
        reached: &[Reached],
        policy: CommitOffset,
    ) -> Vec<(TopicPartition, i64)> {
        self.looks = false;
        self.behind = false;
        let mut moved = Vec::new();
        for (partition, lane) in lanes {
            let Some(found) = reached.iter().find(|found| found.lane == lane.0) else { continue };
            let offset = match policy {
                CommitOffset::OnPersist => found.stored,
                CommitOffset::OnSuccess => found.settled,
            };
            self.behind |= offset < found.stored;
            // A replay takes nothing back that was told.
            if self.told.get(&partition).is_none_or(|told| *told < offset) {
                self.told.insert(partition.clone(), offset);
                moved.push((partition, offset));
            }
        }
        moved
    }

    /// Notes that a look failed: it is made again, though no record comes.
    pub(super) fn failed(&mut self) {
        self.looks = false;
        self.behind = true;
    }
}
