//! Finding where a partition goes on: take its offset row over, compare with the log.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use futures_util::future::join_all;
use mailroom_core::ids::TopicPartition;
use mailroom_core::time::Moment;
use mailroom_core::topic::is_replaced;
use uuid::Uuid;

use crate::clock;
use crate::config::Start;
use crate::config::{Config, Gap};
use crate::db::offsets::StoredRecord;
use crate::db::{Db, DbError, offsets};
use crate::kafka::{Bounds, KafkaError, Spot, TopicState, Topics, behind_damage};
use crate::lane::Session;
use crate::message::place_in_log;

/// Offsets below the stored one that are compared with a topic that was made again: more than a host reads
/// between two looks at the topic's id.
const LOOKED_BACK: i64 = 20_000;

/// Parts that finding needs.
#[derive(Clone)]
pub(super) struct Finder {
    pub(super) config: Arc<Config>,
    pub(super) db: Db,
    pub(super) session: Arc<Session>,
    pub(super) topics: Topics,
    pub(super) group: Arc<str>,
}

/// A partition whose position is looked for.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) partition: TopicPartition,
    /// Offsets that were read while its topic may have been another one.
    pub(super) doubtful: Option<Range<i64>>,
    /// True if what comes next could not be read.
    pub(super) is_damaged: bool,
}

/// Position at which a partition goes on.
#[derive(Debug)]
pub(crate) struct Position {
    pub(super) epoch: i64,
    /// Nil where the cluster has no topic ids.
    pub(super) topic_id: Uuid,
    /// Moment at which that was asked for.
    pub(super) found_at: Moment,
    /// The offset that comes next.
    pub(super) next: i64,
    /// Records that were stored before the topic was seen to be another one, and come again.
    pub(super) passed_over: HashSet<StoredRecord>,
    /// Offsets that the gap policy has just passed over.
    pub(super) skipped: u64,
    /// Reason why the gap policy says stop: nothing is fetched until an operator acts.
    pub(super) stopped: Option<String>,
}

/// Reason for which a position was not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfound {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("{0}")]
    Topic(String),
}

/// Position of a partition, or the reason for which it is not known.
pub(crate) type Found = Result<Position, Unfound>;

impl Finder {
    /// Finds where partitions go on whose lanes are ours. One that cannot be found holds up no other.
    ///
    /// # Errors
    /// Where Postgres or Kafka is away.
    pub(super) async fn find(
        &self,
        lost: Vec<Lost>,
        start: Start,
    ) -> Result<Vec<(TopicPartition, Found)>, Unfound> {
        let mut topics: Vec<String> = lost.iter().map(|of| of.partition.topic.to_string()).collect();
        topics.sort();
        topics.dedup();
        // No partition is read before its topic's id is known.
        let mut states = self.topics.describe(topics).await?;
        let mut found: Vec<(TopicPartition, Found)> = Vec::new();
        let mut known: Vec<(Lost, Uuid)> = Vec::new();
        for of in lost {
            match states.get(&*of.partition.topic) {
                Some(TopicState::Known { id, .. }) => known.push((of, *id)),
                Some(TopicState::Missing) => {
                    found.push((of.partition, Err(Unfound::Topic("the topic does not exist".to_owned()))));
                }
                Some(TopicState::Refused(code)) => {
                    found.push((of.partition, Err(Unfound::Topic(code.to_string()))));
                }
                None => found.push((of.partition, Err(Unfound::Topic("Kafka did not name it".to_owned())))),
            }
        }
        let places: Vec<TopicPartition> = known.iter().map(|(of, _)| of.partition.clone()).collect();
        let mut rows = self.take_over(&places).await?;
        let fresh: Vec<TopicPartition> =
            places.into_iter().filter(|place| !rows.contains_key(place)).collect();
        if !fresh.is_empty() {
            self.begin(&fresh, &mut states, start, &mut found).await?;
            rows.extend(self.take_over(&fresh).await?);
        }
        let checked = known.into_iter().filter_map(|(of, id)| Some((rows.remove(&of.partition)?, of, id)));
        let checked = checked.map(async |(row, of, id)| {
            let position = self.check(&of, id, row).await;
            (of.partition, position)
        });
        found.extend(join_all(checked).await);
        Ok(found)
    }

    /// Begins partitions that have no offset row, topic by topic. Those of a topic that cannot be begun are added to
    /// `found` with the reason.
    async fn begin(
        &self,
        fresh: &[TopicPartition],
        states: &mut HashMap<String, TopicState>,
        start: Start,
        found: &mut Vec<(TopicPartition, Found)>,
    ) -> Result<(), Unfound> {
        let mut topics: Vec<String> = fresh.iter().map(|place| place.topic.to_string()).collect();
        topics.sort();
        topics.dedup();
        let begun = offsets::begun(&self.db, &self.group, &topics).await?;
        for topic in topics {
            let Some(TopicState::Known { id, partitions, .. }) = states.remove(&topic) else { continue };
            let of_topic = || fresh.iter().filter(|place| *place.topic == *topic);
            let is_begun = begun.contains(&topic);
            let (asked, spot) = if is_begun {
                // Partitions that were added later: nothing of them was seen before.
                (of_topic().map(|place| place.partition).collect(), Spot::First)
            } else {
                let spot = match start {
                    Start::Earliest => Spot::First,
                    Start::Latest => Spot::End,
                    Start::At(moment) => Spot::At(moment.timestamp_millis()),
                };
                (partitions, spot)
            };
            let starts = match self.topics.offsets(&topic, &asked, spot).await {
                Ok(starts) => starts,
                Err(error) => {
                    let reason = error.to_string();
                    found.extend(of_topic().map(|of| (of.clone(), Err(Unfound::Topic(reason.clone())))));
                    continue;
                }
            };
            if is_begun {
                offsets::begin_partitions(&self.db, &self.group, &topic, id, &starts).await?;
            } else {
                offsets::begin_topic(&self.db, &self.group, &topic, id, &starts).await?;
            }
        }
        Ok(())
    }

    async fn take_over(
        &self,
        places: &[TopicPartition],
    ) -> Result<HashMap<TopicPartition, offsets::Position>, DbError> {
        let (topics, partitions) = columns(places);
        let positions =
            offsets::take_over(&self.db, self.session.id, &self.group, &topics, &partitions).await?;
        let place = |position: &offsets::Position| TopicPartition {
            topic: Arc::from(position.topic.as_str()),
            partition: position.partition,
        };
        Ok(positions.into_iter().map(|position| (place(&position), position)).collect())
    }

    /// Compares the stored position with the log.
    async fn check(&self, of: &Lost, topic_id: Uuid, row: offsets::Position) -> Found {
        let TopicPartition { topic, partition } = &of.partition;
        let found_at = clock::now();
        let bounds = self.topics.bounds(&of.partition).await?;
        let mut position = Position {
            next: row.next_offset,
            epoch: row.epoch,
            // A broker that does not know ids says nothing against the one that is known.
            topic_id: if topic_id.is_nil() { row.topic_id.unwrap_or_default() } else { topic_id },
            found_at,
            passed_over: HashSet::new(),
            skipped: 0,
            stopped: None,
        };
        let replaced = is_replaced(row.topic_id, topic_id);
        let gap = match gap(replaced, of.doubtful.as_ref(), row.next_offset, bounds) {
            None if of.is_damaged => self.damage(&of.partition, row.next_offset, bounds).await?,
            gap => gap,
        };
        let Some((gap, to)) = gap else {
            if row.topic_id != Some(position.topic_id) {
                let (epoch, id) = (position.epoch, position.topic_id);
                offsets::learn_topic_id(&self.db, &self.group, topic, *partition, epoch, id).await?;
            }
            return Ok(position);
        };
        match self.config.ingest.gap {
            Gap::Stop => {
                offsets::stop(&self.db, &self.group, topic, *partition, position.epoch, &gap).await?;
                position.stopped = Some(format!(
                    "{gap}. Set ingest.gap = \"skip\" to go on at offset {to}, or correct its row in \
                     mailroom.partition_offset, and restart"
                ));
            }
            Gap::Skip => {
                tracing::error!(
                    messaging.consumer.group.name = %self.group,
                    "Partition {partition} of topic {topic}: {gap}. Going on at offset {to}, as ingest.gap = \"skip\" says"
                );
                if replaced {
                    position.passed_over = self.stored_before(&of.partition, &row, bounds).await?;
                }
                let (epoch, id) = (position.epoch, position.topic_id);
                offsets::skip_to(&self.db, &self.group, topic, *partition, epoch, id, to).await?;
                position.skipped = u64::try_from(to - row.next_offset).unwrap_or_default();
                position.next = to;
            }
        }
        Ok(position)
    }

    /// Describes what cannot be read from the offset on that comes next, and returns where one could go on.
    async fn damage(
        &self,
        place: &TopicPartition,
        next: i64,
        bounds: Bounds,
    ) -> Result<Option<(String, i64)>, KafkaError> {
        let found = behind_damage(&self.config.kafka, place, next, bounds.high).await?;
        Ok(found.map(|(damage, to)| {
            let last = to.saturating_sub(1).max(next);
            (format!("offsets {next} to {last} cannot be read ({})", damage.reason), to)
        }))
    }

    /// Records without an id of their producer that were stored under the topic's former id, and may be of the new
    /// topic. Those with an id are found by it.
    async fn stored_before(
        &self,
        place: &TopicPartition,
        row: &offsets::Position,
        bounds: Bounds,
    ) -> Result<HashSet<StoredRecord>, DbError> {
        let former = row.topic_id.unwrap_or_default();
        let from = row.next_offset.saturating_sub(LOOKED_BACK).max(bounds.low);
        let places: Vec<String> = (from..row.next_offset.min(bounds.high))
            .map(|offset| place_in_log(&place.topic, place.partition, offset, former))
            .collect();
        let stored = offsets::stored_at(&self.db, &self.group, &places).await?;
        Ok(stored.into_iter().collect())
    }
}

/// Describes what is between the stored offset and the log, and gives where one could go on.
fn gap(replaced: bool, doubtful: Option<&Range<i64>>, next: i64, bounds: Bounds) -> Option<(String, i64)> {
    let Bounds { low, high } = bounds;
    if replaced {
        let read = match doubtful.filter(|range| !range.is_empty()) {
            Some(range) => format!(
                "; offsets {} to {} were read since its id was last seen, and may be of the old topic or the new one",
                range.start,
                range.end - 1
            ),
            None => String::new(),
        };
        Some((
            format!(
                "the topic was deleted and made again, so the stored offset {next} means nothing in it{read}"
            ),
            low,
        ))
    } else if next < low {
        Some((format!("offsets {next} to {} are no longer in the log, which starts at {low}", low - 1), low))
    } else if next > high {
        Some((
            format!(
                "the stored offset {next} is beyond the end of the log, {high}: the cluster lost records"
            ),
            high,
        ))
    } else {
        None
    }
}

fn columns(places: &[TopicPartition]) -> (Vec<String>, Vec<i32>) {
    places.iter().map(|place| (place.topic.to_string(), place.partition)).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_on_either_side_is_told_and_bridged() {
        let bounds = Bounds { low: 10, high: 20 };
        for next in [10, 15, 20] {
            assert_eq!(gap(false, None, next, bounds), None, "{next} is in the log or its end");
        }
        let (told, to) = gap(false, None, 7, bounds).unwrap();
        assert!(told.contains("7 to 9") && to == 10, "{told}");
        let (told, to) = gap(false, None, 21, bounds).unwrap();
        assert!(told.contains("beyond the end") && to == 20, "{told}");
        let (told, to) = gap(true, Some(&(13..15)), 15, bounds).unwrap();
        assert!(told.contains("offsets 13 to 14 were read") && to == 10, "{told}");
        let (told, to) = gap(true, Some(&(15..15)), 15, bounds).unwrap();
        assert!(!told.contains("were read") && to == 10, "{told}");
    }
}
