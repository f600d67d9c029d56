//! Finding where a partition goes on: take its lane, take its offset row over, compare with the log.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::partition::Position;
use crate::config::Start;
use crate::config::{Config, Gap};
use crate::db::{Db, DbError, lanes, offsets};
use crate::kafka::{Bounds, KafkaError, Place, Topics};
use crate::lane::{Lease, Session};

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
}

/// Why a position was not found.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfound {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
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
    pub(super) async fn adopt(&self, held: usize) -> Result<Vec<Took>, DbError> {
        let held = i64::try_from(held).unwrap_or(i64::MAX);
        let free = lanes::free_inbox(&self.db, &self.group, held).await?;
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
            })
        });
        Ok(took.collect())
    }

    /// Finds where partitions go on whose lanes are ours. One that cannot be found holds up no other.
    pub(super) async fn find(&self, places: &[Place], start: Start) -> Result<Vec<(Place, Found)>, DbError> {
        let mut rows = self.take_over(places).await?;
        let fresh: Vec<Place> = places.iter().filter(|place| !rows.contains_key(*place)).cloned().collect();
        let begun = join_all(fresh.iter().map(|place| self.begin(place, start))).await;
        let failed =
            fresh.iter().zip(begun).filter_map(|(place, begun)| Some((place.clone(), Err(begun.err()?))));
        let mut found: Vec<(Place, Found)> = failed.collect();
        rows.extend(self.take_over(&fresh).await?);
        let checked = rows.into_iter().map(async |(place, row)| {
            let position = self.check(&place, row).await;
            (place, position)
        });
        found.extend(join_all(checked).await);
        Ok(found)
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

    /// Writes where a partition starts that was never read.
    async fn begin(&self, place: &Place, start: Start) -> Result<(), Unfound> {
        let topic_id = self.topics.id(&place.topic).await;
        // A partition that was added to a topic we read: nothing of it was seen before.
        let known = offsets::knows_topic(&self.db, &self.group, &place.topic).await?;
        let bounds = self.topics.bounds(place).await?;
        let next = match start {
            Start::Earliest => bounds.low,
            Start::Latest | Start::At(_) if known => bounds.low,
            Start::Latest => bounds.high,
            Start::At(moment) => {
                self.topics.offset_at(place, moment.timestamp_millis()).await?.unwrap_or(bounds.high)
            }
        };
        offsets::start(&self.db, &self.group, &place.topic, place.partition, topic_id, next).await?;
        Ok(())
    }

    /// Compares the stored position with the log.
    async fn check(&self, place: &Place, row: offsets::Position) -> Found {
        let topic_id = self.topics.id(&place.topic).await;
        let bounds = self.topics.bounds(place).await?;
        let mut position = Position {
            next: row.next_offset,
            epoch: row.epoch,
            topic_id: topic_id.or(row.topic_id),
            careful_to: 0,
            stopped: false,
        };
        let replaced = matches!((row.topic_id, topic_id), (Some(old), Some(new)) if old != new);
        let Some((gap, to)) = gap(replaced, row.next_offset, bounds) else { return Ok(position) };
        let Place { topic, partition } = place;
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
                let (epoch, id) = (position.epoch, position.topic_id);
                offsets::skip_to(&self.db, &self.group, topic, *partition, epoch, id, to).await?;
                position.next = to;
            }
        }
        Ok(position)
    }
}

/// What is between the stored offset and the log, and where one could go on.
fn gap(replaced: bool, next: i64, bounds: Bounds) -> Option<(String, i64)> {
    let Bounds { low, high } = bounds;
    if replaced {
        Some((
            "the topic was deleted and made again, so the stored offset means nothing in it".to_owned(),
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
            assert_eq!(gap(false, next, bounds), None, "{next} is in the log or its end");
        }
        let (told, to) = gap(false, 7, bounds).unwrap();
        assert!(told.contains("7 to 9") && to == 10, "{told}");
        let (told, to) = gap(false, 21, bounds).unwrap();
        assert!(told.contains("beyond the end") && to == 20, "{told}");
        assert_eq!(gap(true, 15, bounds).map(|(_, to)| to), Some(10));
    }
}
