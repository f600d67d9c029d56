//! Ingest's turns: what the consumer says, what has to be looked after now and then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::partition::Partition;
use super::positions::Finder;
use super::{Ingest, backlog, batch};
use crate::inbox::{self, Stored};
use crate::kafka::{Consumer, Event, KafkaError, Place, Topics};
use crate::lane::Lease;
use crate::message::{Message, Record};
use crate::outage::Outage;
use crate::worker::{Entry, Feed};

/// Bytes of payload that one transaction stores, about.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often partitions that wait, rereads and Kafka's view of our offsets are looked after.
const TICK: Duration = Duration::from_millis(100);
/// How often missing topics are looked for.
const TOPICS_TICK: Duration = Duration::from_secs(3);

/// Something that happened.
pub(super) enum Step {
    Kafka(Event),
    Tick,
    Room,
}

/// Ingest at work.
pub(super) struct Turns {
    pub(super) ingest: Ingest,
    pub(super) consumer: Consumer,
    pub(super) finder: Finder,
    subscribed: Vec<String>,
    missing: Vec<String>,
    topics_due: Instant,
    pub(super) partitions: HashMap<Place, Partition>,
    /// Memory is full: the partitions are paused.
    pub(super) paused: bool,
    /// Nothing is asked of Postgres before.
    pub(super) not_before: Instant,
    pub(super) postgres: Outage,
    pub(super) kafka: Outage,
    tick: Interval,
}

impl Turns {
    pub(super) fn new(ingest: Ingest) -> Result<Self, KafkaError> {
        let component = ingest.handler.current();
        let mut subscribed: Vec<String> = component
            .subscriptions()
            .iter()
            .flat_map(|subscription| subscription.topics.iter().cloned())
            .collect();
        subscribed.sort();
        subscribed.dedup();
        let consumer = Consumer::subscribe(&ingest.config.kafka, &ingest.handler.group, &subscribed)?;
        let finder = Finder {
            config: Arc::clone(&ingest.config),
            db: ingest.db.clone(),
            session: Arc::clone(&ingest.session),
            topics: Topics::new(&ingest.config.kafka)?,
            group: Arc::clone(&ingest.handler.group),
        };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            consumer,
            finder,
            subscribed,
            missing: Vec::new(),
            topics_due: Instant::now(),
            partitions: HashMap::new(),
            paused: false,
            not_before: Instant::now(),
            postgres: ingest.db.outage(),
            kafka: Outage::of(format!("Kafka at {}", ingest.config.kafka.brokers)),
            tick,
            ingest,
        })
    }

    /// Waits for the next thing to happen. Cancel safe.
    pub(super) async fn next(&mut self) -> Step {
        let waits_for_room = self.paused || self.has_backlog();
        tokio::select! {
            event = self.consumer.next(self.ingest.config.ingest.batch_rows_max, BATCH_BYTES_MAX) => Step::Kafka(event),
            _ = self.tick.tick() => Step::Tick,
            () = self.ingest.in_hand.freed(), if waits_for_room => Step::Room,
        }
    }

    fn has_backlog(&self) -> bool {
        self.partitions.values().filter_map(|partition| partition.lane.as_ref()).any(|lane| lane.backlog)
    }

    /// Takes what happened.
    pub(super) async fn take(&mut self, step: Step) {
        match step {
            Step::Kafka(Event::Records(records)) => self.store(records).await,
            Step::Kafka(Event::Assigned(places)) => self.assigned(places).await,
            Step::Kafka(Event::Revoked(places)) => self.revoked(&places).await,
            Step::Kafka(Event::OutOfLog) => self.find_all_again(),
            Step::Kafka(Event::TopicUnavailable(error)) => {
                tracing::debug!(%error, "A subscribed topic is missing or closed to us");
                self.topics_due = self.topics_due.min(Instant::now() + TICK);
            }
            Step::Kafka(Event::Away(error)) => {
                self.kafka.failed(&error);
            }
            Step::Tick => self.look_after().await,
            Step::Room => {}
        }
        self.read_backlog().await;
        self.balance();
    }

    async fn look_after(&mut self) {
        self.drop_lost();
        if Instant::now() >= self.not_before {
            self.go_on().await;
        }
        self.report();
        if Instant::now() >= self.topics_due {
            self.look_for_topics().await;
        }
    }

    async fn store(&mut self, records: Vec<(Arc<str>, Record)>) {
        self.kafka.over();
        let sorted = batch::sort(&self.ingest.handler, &mut self.partitions, records);
        if sorted.batch.advances.is_empty() {
            return;
        }
        if sorted.unmatched > 0 {
            tracing::debug!(handler.name = %self.ingest.handler.name, "{} records match no subscription", sorted.unmatched);
        }
        let advances = sorted.batch.advances.clone();
        let places: Vec<Place> = advances
            .iter()
            .map(|advance| Place { topic: Arc::clone(&advance.topic), partition: advance.partition })
            .collect();
        match inbox::store(&self.ingest.db, sorted.batch).await {
            Ok(Stored::Done { fresh, duplicates }) => {
                self.postgres.over();
                if duplicates > 0 {
                    tracing::debug!(handler.name = %self.ingest.handler.name, "{duplicates} messages were here already");
                }
                for advance in advances {
                    if let Some(position) = self.position(&advance.topic, advance.partition) {
                        position.next = advance.to;
                    }
                }
                self.hand_over(fresh).await;
            }
            Ok(Stored::Refused) => {
                tracing::warn!(handler.name = %self.ingest.handler.name, "A partition is another host's, or its offset was moved by hand; finding its place again");
                self.find_again(&places);
            }
            // Whether it was committed is not known: the offset rows know.
            Err(error) => {
                self.not_before = Instant::now() + self.postgres.failed(&error);
                self.find_all_again();
            }
        }
    }

    /// Fresh messages go to the worker directly, unless older ones of their lane still lie in Postgres.
    async fn hand_over(&mut self, fresh: Vec<Message>) {
        let mut lanes = self.lanes();
        let mut entries = Vec::with_capacity(fresh.len());
        for message in fresh {
            let Some(lane) = lanes.get_mut(&message.lane) else { continue };
            lane.backlog |= lane.lease.wants_reread();
            if !lane.backlog {
                lane.mark = lane.mark.max(message.seq);
                entries.push(Entry::fresh(message));
            }
        }
        if !entries.is_empty() {
            backlog::feed(&self.ingest, entries).await;
        }
    }

    async fn read_backlog(&mut self) {
        if Instant::now() < self.not_before {
            return;
        }
        if let Err(error) = backlog::read(&self.ingest, &mut self.partitions).await {
            self.not_before = Instant::now() + self.postgres.failed(&error);
        }
    }

    /// Pauses reading while memory is full, and goes on when half of it is free.
    fn balance(&mut self) {
        let (count, most) = (self.ingest.in_hand.count(), self.ingest.config.ingest.in_hand_max);
        let full = if self.paused { count > most / 2 } else { count >= most };
        if full == self.paused {
            return;
        }
        let fetched = self.partitions.iter().filter(|(_, partition)| partition.is_fetched());
        let places: Vec<Place> = fetched.map(|(place, _)| place.clone()).collect();
        let done = if full { self.consumer.pause(&places) } else { self.consumer.resume(&places) };
        match done {
            Ok(()) => self.paused = full,
            Err(error) => tracing::debug!(%error, "Pausing or resuming partitions"),
        }
    }

    fn report(&mut self) {
        let mut moved = Vec::new();
        for (place, partition) in &mut self.partitions {
            if let Some(position) = partition.position.as_mut().filter(|of| of.reported != of.next) {
                position.reported = position.next;
                moved.push((place.clone(), position.next));
            }
        }
        if !moved.is_empty() {
            self.consumer.report(&moved);
        }
    }

    /// Tells of subscribed topics that do not exist: Kafka's client waits for them without a word.
    async fn look_for_topics(&mut self) {
        self.topics_due = Instant::now() + TOPICS_TICK;
        let without =
            self.subscribed.iter().any(|topic| !self.partitions.keys().any(|place| *place.topic == **topic));
        if !without {
            self.missing.clear();
            return;
        }
        match self.finder.topics.missing(&self.subscribed).await {
            Ok(missing) => {
                self.kafka.over();
                for topic in missing.iter().filter(|topic| !self.missing.contains(topic)) {
                    tracing::warn!(
                        handler.name = %self.ingest.handler.name, messaging.destination.name = %topic,
                        "Topic {topic} does not exist; handler {} takes its messages once it is created",
                        self.ingest.handler.name
                    );
                }
                self.missing = missing;
            }
            Err(error) => {
                self.kafka.failed(&error);
            }
        }
    }

    pub(super) async fn tell_worker(&self, feed: Feed) {
        if self.ingest.feed.send(feed).await.is_err() {
            tracing::debug!("The worker has ended");
        }
    }

    pub(super) fn tell_sweep(&self, lease: Lease) {
        if self.ingest.leases.send(lease).is_err() {
            tracing::debug!("The sweep has ended");
        }
    }

    /// Leaves the group. The lanes are the worker's to give back.
    pub(super) async fn end(self) {
        self.consumer.close().await;
    }
}
