//! Ingest's turns: what the consumer says, what has to be looked after now and then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::partition::Partition;
use super::positions::Finder;
use super::reporting::Reporting;
use super::seqs::Seqs;
use super::{Ingest, backlog, batch};
use crate::kafka::{Consumer, Event, KafkaError, Place, WatchedTopics};
use crate::lane::Lease;
use crate::message::Record;
use crate::outage::Outage;
use crate::worker::{Feed, Weight};

/// Bytes of payload that one transaction stores, about.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often partitions that wait, rereads and Kafka's view of our offsets are looked after.
const TICK: Duration = Duration::from_millis(100);
/// So long a full memory is waited for before partitions are paused.
const PAUSE_AFTER: Duration = Duration::from_millis(500);
/// How often lanes of the group that nobody has are looked for.
pub(super) const ADOPT_EVERY: Duration = Duration::from_secs(1);
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
    pub(super) subscribed: Vec<String>,
    pub(super) watched: WatchedTopics,
    /// A subscribed topic was not there at the last look.
    pub(super) absent: bool,
    missing: Vec<String>,
    topics_due: Instant,
    pub(super) partitions: HashMap<Place, Partition>,
    /// Memory is full: the partitions are paused.
    pub(super) paused: bool,
    /// Since when memory is full.
    full_since: Option<Instant>,
    /// Nothing is asked of Postgres before.
    pub(super) not_before: Instant,
    pub(super) postgres: Outage,
    pub(super) kafka: Outage,
    tick: Interval,
    seqs: Seqs,
    reporting: Reporting,
    /// When lanes without an owner are looked for.
    pub(super) adopt_due: Instant,
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
            topics: ingest.topics.topics.clone(),
            group: Arc::clone(&ingest.handler.group),
        };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            consumer,
            finder,
            watched: ingest.topics.of(&subscribed),
            absent: false,
            subscribed,
            missing: Vec::new(),
            topics_due: Instant::now(),
            partitions: HashMap::new(),
            paused: false,
            full_since: None,
            not_before: Instant::now(),
            postgres: ingest.db.outage(),
            kafka: Outage::of(format!("Kafka at {}", ingest.config.kafka.brokers)),
            tick,
            seqs: Seqs::default(),
            reporting: Reporting::default(),
            adopt_due: Instant::now() + ADOPT_EVERY,
            ingest,
        })
    }

    /// Waits for the next thing to happen. Cancel safe.
    pub(super) async fn next(&mut self) -> Step {
        let waits_for_room = self.full_since.is_some() || self.has_backlog();
        // A full memory is waited for a moment before the partitions are paused: what was fetched ahead would be
        // thrown away.
        let polls = self.paused || self.full_since.is_none();
        tokio::select! {
            event = self.consumer.next(self.ingest.config.ingest.batch_rows_max, BATCH_BYTES_MAX), if polls => {
                Step::Kafka(event)
            }
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
            Step::Kafka(Event::Records(records)) => self.pass_on(records).await,
            Step::Kafka(Event::Assigned(places)) => self.assigned(places).await,
            Step::Kafka(Event::Revoked(places)) => self.revoked(&places).await,
            Step::Kafka(Event::OutOfLog) => self.find_all_again(),
            Step::Kafka(Event::TopicUnavailable(error)) => {
                self.watched.hurry();
                tracing::debug!(%error, "A subscribed topic is missing or closed to us");
                self.topics_due = self.topics_due.min(Instant::now() + TICK);
            }
            Step::Kafka(Event::Away(error)) => {
                self.kafka.failed(&error);
            }
            Step::Kafka(Event::Stuck(error)) => self.on_repeated_error(&error).await,
            Step::Kafka(Event::Fatal(error)) => self.rejoin(&error).await,
            Step::Tick => self.look_after().await,
            Step::Room => {}
        }
        self.read_backlog().await;
        self.balance();
    }

    async fn look_after(&mut self) {
        self.drop_lost();
        self.on_look();
        if Instant::now() >= self.not_before {
            self.go_on().await;
            self.adopt().await;
            self.report().await;
        }
        if Instant::now() >= self.topics_due {
            self.look_for_topics().await;
        }
    }

    /// Gives records to the worker, which handles and stores them.
    async fn pass_on(&mut self, records: Vec<(Arc<str>, Record)>) {
        self.kafka.over();
        if let Err(error) = self.seqs.fill(&self.ingest.db, records.len()).await {
            let wait = self.postgres.failed(&error);
            self.not_before = Instant::now() + wait;
            self.fetch_again(&records);
            tokio::time::sleep(wait).await;
            return;
        }
        let records = self.seqs.give(records);
        let sorted = batch::sort(&self.ingest.handler, &mut self.partitions, records);
        if sorted.unmatched > 0 {
            tracing::debug!(handler.name = %self.ingest.handler.name, "{} records match no subscription", sorted.unmatched);
        }
        if sorted.fresh.is_empty() {
            return;
        }
        let rows = sorted.fresh.iter().flat_map(|fresh| &fresh.rows);
        self.ingest.in_hand.add(rows.map(|row| Weight::of(&row.message)).sum());
        self.reporting.moved();
        // Should the worker have ended, so does ingest in a moment, and nothing was stored.
        let feed = Feed::Fresh { fresh: sorted.fresh, stored_first: sorted.stored_first };
        backlog::tell(&self.ingest, feed).await;
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
        let (in_hand, bounds) = (&self.ingest.in_hand, &self.ingest.config.ingest);
        let full = if self.paused { !in_hand.has_room(bounds) } else { in_hand.is_full(bounds) };
        self.full_since = full.then(|| self.full_since.unwrap_or_else(Instant::now));
        let pause = self.full_since.is_some_and(|since| since.elapsed() >= PAUSE_AFTER);
        if pause == self.paused {
            return;
        }
        let fetched = self.partitions.iter().filter(|(_, partition)| partition.is_fetched());
        let places: Vec<Place> = fetched.map(|(place, _)| place.clone()).collect();
        let done = if pause { self.consumer.pause(&places) } else { self.consumer.resume(&places) };
        match done {
            Ok(()) => self.paused = pause,
            Err(error) => tracing::debug!(%error, "Pausing or resuming partitions"),
        }
    }

    /// Tells Kafka how far we are.
    async fn report(&mut self) {
        let lanes = self.partitions.iter().filter(|(_, partition)| partition.assigned);
        let lanes =
            lanes.filter_map(|(place, partition)| Some((place.clone(), partition.lane.as_ref()?.lease.lane)));
        let component = self.ingest.handler.current();
        let policy = component.manifest().commit_offset;
        match self.reporting.due(&self.ingest.db, &self.ingest.handler.group, lanes.collect(), policy).await {
            Ok(reached) if reached.is_empty() => {}
            Ok(reached) => self.consumer.report(&reached),
            // It is for people's tools: the next time.
            Err(error) => tracing::debug!(%error, "Looking how far the partitions are"),
        }
    }

    /// Tells of subscribed topics that do not exist: Kafka's client waits for them without a word.
    async fn look_for_topics(&mut self) {
        self.topics_due = Instant::now() + TOPICS_TICK;
        // A lane that was adopted says nothing of its topic, which may have been deleted.
        let assigned = |topic: &String| {
            self.partitions.iter().any(|(place, partition)| partition.assigned && *place.topic == **topic)
        };
        let without = self.absent || self.subscribed.iter().any(|topic| !assigned(topic));
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
        backlog::tell(&self.ingest, feed).await;
    }

    /// A lane was taken: its last owner may have written up to this place.
    pub(super) fn seqs_known(&mut self, last: i64) {
        self.seqs.known(last);
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
