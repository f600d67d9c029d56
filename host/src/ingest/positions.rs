//! Finding where a partition goes on: take its lane, take its offset row over, compare with the log.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use futures_util::future::join_all;
use mailroom_core::topic::{VouchedOffsets, is_replaced};
use uuid::Uuid;

use super::partition::Position;
use crate::clock;
use crate::config::Start;
use crate::config::{Config, Gap};
use crate::db::offsets::StoredRecord;
use crate::db::{Db, DbError, lanes, offsets};
use crate::kafka::{Bounds, KafkaError, Place, Spot, TopicState, Topics};
use crate::lane::{Lease, Session};
use crate::message::place_in_log;

/// Offsets below the stored one that are compared with a topic that was made again: more than a host reads
/// between two looks at the topic's id.
const LOOKED_BACK: i64 = 20_000;

/// What finding needs.
#[derive(Clone)]
pub(super) struct Finder {
    pub(super) config: Arc<Config>,
    pub(super) db: Db,
    pub(super) session: Arc<Session>,
    pub(super) topics: Topics,
    pub(super) group: Arc<str>,
}

/// A lane that was taken.
#[derive(Debug)]
pub(super) struct Took {
    pub(super) place: Place,
    pub(super) lease: Lease,
    /// Its last owner died with it.
    pub(super) abandoned: bool,
    /// The highest place that the inbox had given out when the lane was taken.
    pub(super) last_seq: i64,
}

/// A partition whose position is looked for.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) place: Place,
    /// Offsets that were read while its topic may have been another one.
    pub(super) doubtful: Option<Range<i64>>,
}

/// Why a position was not found.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfound {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("{0}")]
    Topic(String),
}

/// Where a partition goes on, or why that is not known.
pub(super) type Found = Result<Position, Unfound>;

impl Finder {
    /// Takes those of the partitions' lanes that are free, and asks for the others.
    pub(super) async fn take(&self, places: &[Place]) -> Result<Vec<Took>, DbError> {
        let (topics, partitions) = columns(places);
        let opened = lanes::open(&self.db, &self.group, &topics, &partitions).await?;
        let took = self.take_opened(&opened).await?;
        let wanted =
            opened.iter().map(|of| of.lane).filter(|lane| !took.iter().any(|of| of.lease.lane == *lane));
        let wanted: Vec<i32> = wanted.collect();
        if !wanted.is_empty() {
            lanes::want(&self.db, self.session.id, &wanted).await?;
        }
        Ok(took)
    }

    /// Takes lanes that nobody has, up to this host's share; `held` are the handler's that it has.
    pub(super) async fn adopt(&self, topics: &[String], held: usize) -> Result<Vec<Took>, DbError> {
        let held = i64::try_from(held).unwrap_or(i64::MAX);
        let free = lanes::free_inbox(&self.db, &self.group, topics, held).await?;
        if free.is_empty() { Ok(Vec::new()) } else { self.take_opened(&free).await }
    }

    async fn take_opened(&self, opened: &[lanes::Opened]) -> Result<Vec<Took>, DbError> {
        let ids: Vec<i32> = opened.iter().map(|of| of.lane).collect();
        let taken = lanes::take(&self.db, self.session.id, &ids).await?;
        let took = taken.into_iter().filter_map(|taken| {
            let of = opened.iter().find(|of| of.lane == taken.lane)?;
            Some(Took {
                place: Place { topic: Arc::from(of.topic.as_str()), partition: of.partition },
                lease: Lease::new(taken.lane, taken.token, taken.reread, &self.session),
                abandoned: taken.abandoned,
                last_seq: taken.last_seq,
            })
        });
        Ok(took.collect())
    }

    /// Finds where partitions go on whose lanes are ours. One that cannot be found holds up no other.
    ///
    /// # Errors
    /// Where Postgres or Kafka is away.
    pub(super) async fn find(&self, lost: Vec<Lost>, start: Start) -> Result<Vec<(Place, Found)>, Unfound> {
        let mut topics: Vec<String> = lost.iter().map(|of| of.place.topic.to_string()).collect();
        topics.sort();
        topics.dedup();
        // No partition is read before its topic's id is known.
        let mut states = self.topics.describe(topics).await?;
        let mut found: Vec<(Place, Found)> = Vec::new();
        let mut known: Vec<(Lost, Uuid)> = Vec::new();
        for of in lost {
            match states.get(&*of.place.topic) {
                Some(TopicState::Known { id, .. }) => known.push((of, *id)),
                Some(TopicState::Missing) => {
                    found.push((of.place, Err(Unfound::Topic("the topic does not exist".to_owned()))));
                }
                Some(TopicState::Refused(code)) => {
                    found.push((of.place, Err(Unfound::Topic(code.to_string()))));
                }
                None => found.push((of.place, Err(Unfound::Topic("Kafka did not name it".to_owned())))),
            }
        }
        let places: Vec<Place> = known.iter().map(|(of, _)| of.place.clone()).collect();
        let mut rows = self.take_over(&places).await?;
        let fresh: Vec<Place> = places.into_iter().filter(|place| !rows.contains_key(place)).collect();
        if !fresh.is_empty() {
            self.begin(&fresh, &mut states, start, &mut found).await?;
            rows.extend(self.take_over(&fresh).await?);
        }
        let checked = known.into_iter().filter_map(|(of, id)| Some((rows.remove(&of.place)?, of, id)));
        let checked = checked.map(async |(row, of, id)| {
            let position = self.check(&of, id, row).await;
            (of.place, position)
        });
        found.extend(join_all(checked).await);
        Ok(found)
    }

    /// Begins partitions that have no offset row, topic by topic. Those of a topic that cannot be begun are added to
    /// `found` with the reason.
    async fn begin(
        &self,
        fresh: &[Place],
        states: &mut HashMap<String, TopicState>,
        start: Start,
        found: &mut Vec<(Place, Found)>,
    ) -> Result<(), Unfound> {
        let mut topics: Vec<String> = fresh.iter().map(|place| place.topic.to_string()).collect();
        topics.sort();
        topics.dedup();
        let begun = offsets::begun(&self.db, &self.group, &topics).await?;
        for topic in topics {
            let Some(TopicState::Known { id, partitions }) = states.remove(&topic) else { continue };
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

    async fn take_over(&self, places: &[Place]) -> Result<HashMap<Place, offsets::Position>, DbError> {
        let (topics, partitions) = columns(places);
        let positions =
            offsets::take_over(&self.db, self.session.id, &self.group, &topics, &partitions).await?;
        let place = |position: &offsets::Position| Place {
            topic: Arc::from(position.topic.as_str()),
            partition: position.partition,
        };
        Ok(positions.into_iter().map(|position| (place(&position), position)).collect())
    }

    /// Compares the stored position with the log.
    async fn check(&self, of: &Lost, topic_id: Uuid, row: offsets::Position) -> Found {
        let Place { topic, partition } = &of.place;
        let found_at = clock::now();
        let bounds = self.topics.bounds(&of.place).await?;
        let mut position = Position {
            next: row.next_offset,
            epoch: row.epoch,
            // A broker that does not know ids says nothing against the one that is known.
            topic_id: if topic_id.is_nil() { row.topic_id.unwrap_or_default() } else { topic_id },
            found_at,
            vouched: VouchedOffsets::from(row.next_offset, found_at),
            careful_to: 0,
            passed_over: HashSet::new(),
            stopped: false,
        };
        let replaced = is_replaced(row.topic_id, topic_id);
        let Some((gap, to)) = gap(replaced, of.doubtful.as_ref(), row.next_offset, bounds) else {
            if row.topic_id != Some(position.topic_id) {
                let (epoch, id) = (position.epoch, position.topic_id);
                offsets::learn_topic_id(&self.db, &self.group, topic, *partition, epoch, id).await?;
            }
            return Ok(position);
        };
        match self.config.ingest.gap {
            Gap::Stop => {
                tracing::error!(
                    messaging.consumer.group.name = %self.group,
                    "Partition {partition} of topic {topic} is stopped: {gap}. Set ingest.gap = \"skip\" to go on at \
                     offset {to}, or correct its row in mailroom.partition_offset, and restart"
                );
                position.stopped = true;
            }
            Gap::Skip => {
                tracing::error!(
                    messaging.consumer.group.name = %self.group,
                    "Partition {partition} of topic {topic}: {gap}. Going on at offset {to}, as ingest.gap = \"skip\" says"
                );
                if replaced {
                    position.passed_over = self.stored_before(&of.place, &row, bounds).await?;
                }
                let (epoch, id) = (position.epoch, position.topic_id);
                offsets::skip_to(&self.db, &self.group, topic, *partition, epoch, id, to).await?;
                position.next = to;
                position.vouched = VouchedOffsets::from(to, found_at);
            }
        }
        Ok(position)
    }

    /// Records without an id of their producer that were stored under the topic's former id, and may be of the new
    /// topic. Those with an id are found by it.
    async fn stored_before(
        &self,
        place: &Place,
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

/// What is between the stored offset and the log, and where one could go on.
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

fn columns(places: &[Place]) -> (Vec<String>, Vec<i32>) {
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
