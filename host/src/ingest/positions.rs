//! Finding where a partition goes on: take its lane, take its offset row over, compare with the log.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::config::Start;
use crate::config::{Config, Gap};
use crate::db::offsets::{self, Position};
use crate::db::{Db, DbError, lanes};
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

/// Where a partition goes on.
#[derive(Debug)]
pub(super) struct At {
    pub(super) place: Place,
    pub(super) lease: Lease,
    pub(super) epoch: i64,
    pub(super) topic_id: Option<Uuid>,
    pub(super) next: i64,
    /// The gap policy says stop.
    pub(super) stopped: bool,
}

/// Why finding failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfound {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

impl Finder {
    /// Takes those of the partitions whose lanes are free, and finds where they go on. `held` are
    /// leases that are still good: a position is found again without taking the lane again.
    pub(super) async fn find(
        &self,
        places: &[Place],
        held: &HashMap<Place, Lease>,
        start: Start,
    ) -> Result<Vec<At>, Unfound> {
        let leases = self.leases(places, held).await?;
        let places: Vec<Place> = leases.keys().cloned().collect();
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let mut positions = self.take_over(&places).await?;
        let fresh: Vec<Place> =
            places.iter().filter(|place| !positions.contains_key(*place)).cloned().collect();
        if !fresh.is_empty() {
            for place in &fresh {
                self.begin(place, start).await?;
            }
            positions.extend(self.take_over(&fresh).await?);
        }
        let mut found = Vec::with_capacity(places.len());
        for (place, lease) in leases {
            let Some(position) = positions.remove(&place) else { continue };
            found.push(self.check(place, lease, position).await?);
        }
        Ok(found)
    }

    async fn leases(
        &self,
        places: &[Place],
        held: &HashMap<Place, Lease>,
    ) -> Result<HashMap<Place, Lease>, DbError> {
        let mut leases: HashMap<Place, Lease> = held
            .iter()
            .filter(|(place, lease)| places.contains(place) && !lease.is_lost())
            .map(|(place, lease)| (place.clone(), lease.clone()))
            .collect();
        let wanted: Vec<&Place> = places.iter().filter(|place| !leases.contains_key(*place)).collect();
        if wanted.is_empty() {
            return Ok(leases);
        }
        let (topics, partitions) = columns(&wanted);
        let opened = lanes::open(&self.db, &self.group, &topics, &partitions).await?;
        let ids: Vec<i32> = opened.iter().map(|(id, _, _)| *id).collect();
        let taken = lanes::take(&self.db, self.session.id, &ids).await?;
        for taken in taken {
            let Some((_, topic, partition)) = opened.iter().find(|(id, _, _)| *id == taken.lane) else {
                continue;
            };
            let Some(place) =
                wanted.iter().find(|place| *place.topic == **topic && place.partition == *partition)
            else {
                continue;
            };
            let lease = Lease::new(taken.lane, taken.token, taken.reread, &self.session);
            leases.insert((*place).clone(), lease);
        }
        Ok(leases)
    }

    async fn take_over(&self, places: &[Place]) -> Result<HashMap<Place, Position>, DbError> {
        let (topics, partitions) = columns(&places.iter().collect::<Vec<_>>());
        let positions =
            offsets::take_over(&self.db, self.session.id, &self.group, &topics, &partitions).await?;
        let place = |position: &Position| Place {
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
            Start::Latest if known => bounds.low,
            Start::Latest => bounds.high,
        };
        offsets::start(&self.db, &self.group, &place.topic, place.partition, topic_id, next).await?;
        Ok(())
    }

    /// Compares the stored position with the log.
    async fn check(&self, place: Place, lease: Lease, position: Position) -> Result<At, Unfound> {
        let topic_id = self.topics.id(&place.topic).await;
        let bounds = self.topics.bounds(&place).await?;
        let mut at = At {
            next: position.next_offset,
            epoch: position.epoch,
            topic_id: topic_id.or(position.topic_id),
            stopped: false,
            place,
            lease,
        };
        let replaced = matches!((position.topic_id, topic_id), (Some(old), Some(new)) if old != new);
        let Some((gap, to)) = gap(replaced, position.next_offset, bounds) else { return Ok(at) };
        let (topic, partition) = (at.place.topic.to_string(), at.place.partition);
        match self.config.ingest.gap {
            Gap::Stop => {
                tracing::error!(
                    messaging.consumer.group.name = %self.group,
                    "Partition {partition} of topic {topic} is stopped: {gap}. Set ingest.gap = \"skip\" to go on at \
                     offset {to}, or correct its row in mailroom.partition_offset, and restart"
                );
                at.stopped = true;
            }
            Gap::Skip => {
                tracing::error!(
                    messaging.consumer.group.name = %self.group,
                    "Partition {partition} of topic {topic}: {gap}. Going on at offset {to}, as ingest.gap = \"skip\" says"
                );
                offsets::skip_to(&self.db, &self.group, &topic, partition, at.epoch, at.topic_id, to).await?;
                at.next = to;
            }
        }
        Ok(at)
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

fn columns(places: &[&Place]) -> (Vec<String>, Vec<i32>) {
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
