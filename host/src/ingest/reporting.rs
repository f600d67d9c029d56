//! What Kafka is told about how far we are. It is for people's tools: nothing reads it back.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::CommitOffset;
use crate::db::{Db, DbError, offsets};
use crate::kafka::Place;

/// Kafka is told at most this often.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// What was settled shows for so long after the last record came.
const SHOWS_FOR: Duration = Duration::from_secs(5);

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    told: HashMap<Place, i64>,
    looked_at: Option<Instant>,
    moved_at: Option<Instant>,
    /// Some partition is not where it could be: messages of it are unsettled.
    behind: bool,
}

impl Reporting {
    /// Records came.
    pub(super) fn moved(&mut self) {
        self.moved_at = Some(Instant::now());
    }

    /// Where partitions are that have moved since Kafka was told, where it is time to look. `on-success`: not
    /// beyond the first message that is not settled.
    pub(super) async fn due(
        &mut self,
        db: &Db,
        group: &str,
        lanes: Vec<(Place, i32)>,
        policy: CommitOffset,
    ) -> Result<Vec<(Place, i64)>, DbError> {
        let now = Instant::now();
        let within = |at: Option<Instant>, span| at.is_some_and(|at| now - at < span);
        let wanted = self.behind || within(self.moved_at, SHOWS_FOR) || self.looked_at.is_none();
        let pause = if self.behind && !within(self.moved_at, SHOWS_FOR) { SHOWS_FOR } else { REPORT_EVERY };
        if lanes.is_empty() || !wanted || within(self.looked_at, pause) {
            return Ok(Vec::new());
        }
        self.looked_at = Some(now);
        let ids: Vec<i32> = lanes.iter().map(|(_, lane)| *lane).collect();
        let reached = offsets::reached(db, group, &ids).await?;
        self.behind = false;
        let mut moved = Vec::new();
        for (place, lane) in lanes {
            let Some(found) = reached.iter().find(|found| found.lane == lane) else { continue };
            let offset = match policy {
                CommitOffset::OnPersist => found.stored,
                CommitOffset::OnSuccess => found.settled,
            };
            self.behind |= offset < found.stored;
            // A replay takes nothing back that was told.
            if self.told.get(&place).is_none_or(|told| *told < offset) {
                self.told.insert(place.clone(), offset);
                moved.push((place, offset));
            }
        }
        Ok(moved)
    }
}
