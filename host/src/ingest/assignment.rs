//! Which partitions this host has: assigned and revoked by Kafka, their lanes taken and lost, their
//! positions found and found again.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::partition::{Lane, Partition, Position};
use super::positions::Found;
use super::turn::Turns;
use crate::inbox;
use crate::kafka::Place;
use crate::lane::Lease;
use crate::worker::Feed;

impl Turns {
    /// Partitions that were given to us. Those whose lanes are free are read from now on; the others
    /// wait for theirs. Until this is answered Kafka pauses everything.
    pub(super) async fn assigned(&mut self, places: Vec<Place>) {
        self.kafka.over();
        for place in places {
            self.partitions.insert(place, Partition::default());
        }
        if let Err(error) = self.consumer.assign(&[]) {
            tracing::warn!(%error, "Answering a rebalance");
        }
        self.go_on().await;
    }

    pub(super) async fn revoked(&mut self, places: &[Place]) {
        let partitions: Vec<Partition> =
            places.iter().filter_map(|place| self.partitions.remove(place)).collect();
        if let Err(error) = self.consumer.unassign(places) {
            tracing::warn!(%error, "Answering a rebalance");
        }
        // The worker gives the lanes back once nothing of them runs; the next owner waits for that.
        let lanes = partitions.iter().filter_map(|partition| Some(partition.lane.as_ref()?.lease.lane));
        self.tell_worker(Feed::Closed(lanes.collect())).await;
    }

    /// Lanes that became another's: the partition waits for its lane again.
    pub(super) fn drop_lost(&mut self) {
        let lost = self.partitions.iter().filter(|(_, partition)| partition.is_lost());
        let lost: Vec<Place> = lost.map(|(place, _)| place.clone()).collect();
        self.find_again(&lost);
        for place in &lost {
            if let Some(partition) = self.partitions.get_mut(place) {
                partition.lane = None;
            }
        }
    }

    /// Stops fetching partitions until their position is found again.
    pub(super) fn find_again(&mut self, places: &[Place]) {
        if places.is_empty() {
            return;
        }
        if let Err(error) = self.consumer.unassign(places) {
            tracing::debug!(%error, "Giving partitions up for a moment");
        }
        for place in places {
            if let Some(partition) = self.partitions.get_mut(place) {
                partition.position = None;
            }
        }
    }

    /// Every position is found again; what lies in Postgres above the marks is read.
    pub(super) fn find_all_again(&mut self) {
        let places: Vec<Place> = self.partitions.keys().cloned().collect();
        self.find_again(&places);
        self.partitions.values_mut().filter_map(|partition| partition.lane.as_mut()).for_each(|lane| {
            lane.backlog = true;
        });
    }

    /// Takes lanes that are free, finds positions that are not known, and fetches from there.
    pub(super) async fn go_on(&mut self) {
        let without_lane = self.places(|partition| partition.lane.is_none());
        if !without_lane.is_empty() {
            let component = self.ingest.handler.current();
            let dead_letters = component.manifest().dead_letter_topic.as_deref();
            match self.finder.take(&without_lane, dead_letters).await {
                Ok(taken) => self.took(taken).await,
                Err(error) => {
                    self.not_before = Instant::now() + self.postgres.failed(&error);
                    return;
                }
            }
        }
        let lost_place = self.places(|partition| partition.lane.is_some() && partition.position.is_none());
        if lost_place.is_empty() {
            return;
        }
        let start = self.ingest.handler.current().manifest().start;
        match self.finder.find(&lost_place, start).await {
            Ok(found) => {
                self.postgres.over();
                self.fetch(found);
            }
            Err(error) => self.not_before = Instant::now() + self.postgres.failed(&error),
        }
    }

    fn places(&self, which: impl Fn(&Partition) -> bool) -> Vec<Place> {
        self.partitions
            .iter()
            .filter(|(_, partition)| which(partition))
            .map(|(place, _)| place.clone())
            .collect()
    }

    async fn took(&mut self, taken: Vec<(Place, Lease)>) {
        for (place, lease) in taken {
            let as_of = Instant::now();
            let standing = match inbox::standing(&self.ingest.db, lease.lane).await {
                Ok(standing) => standing,
                Err(error) => {
                    // Nothing of a lane may start before its held and blocked keys are known.
                    self.not_before = Instant::now() + self.postgres.failed(&error);
                    return;
                }
            };
            let blocked = (standing.blocked.clone(), as_of);
            self.tell_worker(Feed::Opened(lease.clone(), Arc::clone(&place.topic), standing)).await;
            self.tell_sweep(lease.clone());
            if let Some(partition) = self.partitions.get_mut(&place) {
                partition.lane = Some(Lane { lease, mark: 0, backlog: true, blocked });
            }
        }
    }

    fn fetch(&mut self, found: Vec<(Place, Found)>) {
        let mut offsets = Vec::with_capacity(found.len());
        for (place, found) in found {
            let position = match found {
                Ok(position) => position,
                Err(error) => {
                    // Only this partition waits; the others go on.
                    self.not_before = Instant::now() + self.kafka.failed(&error);
                    continue;
                }
            };
            if !position.stopped {
                tracing::info!(
                    messaging.consumer.group.name = %self.ingest.handler.group,
                    "Reading partition {} of topic {} from offset {}", place.partition, place.topic, position.next
                );
                offsets.push((place.clone(), position.next));
            }
            if let Some(partition) = self.partitions.get_mut(&place) {
                partition.position = Some(position);
            }
        }
        if offsets.is_empty() {
            return;
        }
        let places: Vec<Place> = offsets.iter().map(|(place, _)| place.clone()).collect();
        if let Err(error) = self.consumer.assign(&offsets) {
            tracing::warn!(%error, "Assigning partitions");
            self.find_again(&places);
            return;
        }
        // A partition keeps being paused, or not, from when it was here before.
        let like_the_others =
            if self.paused { self.consumer.pause(&places) } else { self.consumer.resume(&places) };
        if let Err(error) = like_the_others {
            tracing::debug!(%error, "Pausing or resuming partitions");
        }
    }

    /// By the number of their lanes.
    pub(super) fn lanes(&mut self) -> HashMap<i32, &mut Lane> {
        let lanes = self.partitions.values_mut().filter_map(|partition| partition.lane.as_mut());
        lanes.map(|lane| (lane.lease.lane, lane)).collect()
    }

    /// A partition's position, where records may be stored.
    pub(super) fn position(&mut self, topic: &Arc<str>, partition: i32) -> Option<&mut Position> {
        let place = Place { topic: Arc::clone(topic), partition };
        self.partitions.get_mut(&place)?.live().map(|(_, position)| position)
    }
}
