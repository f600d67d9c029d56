//! Which partitions this host has: assigned and revoked by Kafka, their lanes taken and lost, their
//! positions found and found again.

use std::collections::BTreeSet;
use std::sync::Arc;

use mailroom_core::topic::VouchedOffsets;
use tokio::time::Instant;

use super::partition::{Lane, Partition, Position, Search};
use super::positions::{Found, Lost, Took, Unfound};
use super::turn::{ADOPT_EVERY, Turns};
use crate::clock;
use crate::inbox;
use crate::kafka::Place;
use crate::message::Record;
use crate::worker::Feed;

/// Batches that a host may have had in hand and not stored, at most.
const BATCHES_UNSTORED: usize = 16;

impl Turns {
    /// Partitions that were given to us. Those whose lanes are free are read from now on; the others
    /// wait for theirs. Until this is answered Kafka pauses everything.
    pub(super) async fn assigned(&mut self, places: Vec<Place>) {
        self.kafka.over();
        for place in places {
            // Its lane may be ours already, since nobody had it.
            self.partitions.entry(place).or_insert_with(Partition::assigned).assigned = true;
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

    /// Records that could not be taken are fetched once more, from where their partitions stand.
    pub(super) fn fetch_again(&mut self, records: &[(Arc<str>, Record)]) {
        let place = |(topic, record): &(Arc<str>, Record)| Place {
            topic: Arc::clone(topic),
            partition: record.partition,
        };
        let places: BTreeSet<Place> = records.iter().map(place).collect();
        let places: Vec<Place> = places.into_iter().collect();
        let next = |place: &Place| Some((place.clone(), self.partitions.get(place)?.position.as_ref()?.next));
        let offsets: Vec<(Place, i64)> = places.iter().filter_map(next).collect();
        let again = self.consumer.unassign(&places).and_then(|()| self.consumer.assign(&offsets));
        if let Err(error) = again {
            tracing::debug!(%error, "Fetching records once more");
            self.find_again(&places);
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
        let without_lane = self.places(|partition| partition.assigned && partition.lane.is_none());
        if !without_lane.is_empty() {
            match self.finder.take(&without_lane).await {
                Ok(taken) => self.took(taken, true).await,
                Err(error) => {
                    self.not_before = Instant::now() + self.postgres.failed(&error);
                    return;
                }
            }
        }
        let now = Instant::now();
        let is_lost = |partition: &Partition| {
            partition.assigned
                && partition.lane.is_some()
                && partition.position.is_none()
                && partition.search.is_due(now)
        };
        let lost = self.partitions.iter().filter(|(_, partition)| is_lost(partition));
        let lost = lost
            .map(|(place, partition)| Lost { place: place.clone(), doubtful: partition.doubtful.clone() });
        let lost: Vec<Lost> = lost.collect();
        if lost.is_empty() {
            return;
        }
        let start = self.ingest.handler.current().manifest().start;
        match self.finder.find(lost, start).await {
            Ok(found) => {
                self.postgres.over();
                self.fetch(found);
            }
            Err(Unfound::Db(error)) => self.not_before = Instant::now() + self.postgres.failed(&error),
            Err(error) => self.not_before = Instant::now() + self.kafka.failed(&error),
        }
    }

    pub(super) fn places(&self, which: impl Fn(&Partition) -> bool) -> Vec<Place> {
        self.partitions
            .iter()
            .filter(|(_, partition)| which(partition))
            .map(|(place, _)| place.clone())
            .collect()
    }

    /// Lanes of the group that nobody has are worked off here until somebody wants them: those of a host that
    /// died before Kafka noticed, and of partitions that Kafka gave to nobody yet.
    pub(super) async fn adopt(&mut self) {
        self.give_to_others().await;
        if Instant::now() < self.adopt_due {
            return;
        }
        self.adopt_due = Instant::now() + ADOPT_EVERY;
        let held = self.partitions.values().filter(|partition| partition.lane.is_some()).count();
        match self.finder.adopt(&self.subscribed, held).await {
            Ok(taken) => self.took(taken, false).await,
            Err(error) => self.not_before = Instant::now() + self.postgres.failed(&error),
        }
    }

    /// Adopted lanes that Kafka's choice waits for.
    async fn give_to_others(&mut self) {
        let wanted = self.places(Partition::is_anothers);
        if wanted.is_empty() {
            return;
        }
        let partitions = wanted.iter().filter_map(|place| self.partitions.remove(place));
        let lanes = partitions.filter_map(|partition| Some(partition.lane?.lease.lane)).collect();
        self.tell_worker(Feed::Closed(lanes)).await;
        // They are not for us to take again at once.
        self.adopt_due = Instant::now() + 2 * ADOPT_EVERY;
    }

    async fn took(&mut self, taken: Vec<Took>, assigned: bool) {
        if let Some(last_seq) = taken.iter().map(|took| took.last_seq).max() {
            self.seqs_known(last_seq);
        }
        for Took { place, lease, abandoned, .. } in taken {
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
            let adopted = Partition { assigned: false, ..Partition::assigned() };
            let partition = self.partitions.entry(place).or_insert(adopted);
            partition.assigned |= assigned;
            partition.lane = Some(Lane { lease, mark: 0, backlog: true, away_to: 0, abandoned, blocked });
        }
    }

    fn fetch(&mut self, found: Vec<(Place, Found)>) {
        let mut offsets = Vec::with_capacity(found.len());
        for (place, found) in found {
            let position = match found {
                Ok(position) => position,
                Err(error) => {
                    if let Some(partition) = self.partitions.get_mut(&place) {
                        partition.search.failed(&place, &error);
                    }
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
                let bounds = &self.ingest.config.ingest;
                let careful =
                    bounds.in_hand_max.saturating_add(bounds.batch_rows_max.saturating_mul(BATCHES_UNSTORED));
                let careful = i64::try_from(careful).unwrap_or(i64::MAX);
                let abandoned = partition.lane.as_ref().is_some_and(|lane| lane.abandoned);
                let careful_to = if abandoned { position.next.saturating_add(careful) } else { 0 };
                (partition.search, partition.doubtful) = (Search::default(), None);
                let vouched = VouchedOffsets::from(position.next, clock::now());
                partition.position = Some(Position { careful_to, vouched, ..position });
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
}
