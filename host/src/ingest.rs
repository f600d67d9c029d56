//! Ingest from Kafka into the handler's machine, one consumer group per handler: records become messages, and
//! partitions are fetched from where the offset rows say.
//!
//! Invariants: nothing here is stored or settled, and Kafka's own offsets are never read; an offset row is moved only
//! by the settlement that stores its record. No partition is read before its topic's id is known.

mod chores;
mod consumed;
pub(crate) mod matching;
mod partition_log;
mod positions;
mod quiet;
mod reporting;
mod topic_ids;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use mailroom_core::ids::{LaneId, Lease, TopicPartition};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::config::Config;
use crate::handler::Handler;
use crate::kafka::{self, Consumer, KafkaError, WatchedTopics};
use crate::metrics::IngestMetrics;
use crate::outage::Outage;
use crate::reminder::Reminder;
use crate::settle::{Effects, StateView};
use crate::waits::{Wait, Waits};
use crate::worker::Worker;
use chores::Chore;
use partition_log::PartitionLog;
use positions::Finder;
use reporting::Reporting;

/// Memory of the records that one poll brings, at most, but for the last of them.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Interval of the looks after topics and Kafka's view of our offsets.
const TICK: Duration = Duration::from_millis(100);

type Event = mailroom_core::handler_machine::event::Event<StateView, Effects>;

/// Something that happened to the consumer or to a look after it.
pub(crate) enum Happened {
    Kafka(kafka::Event),
    Chore(Chore),
    Tick,
}

/// A subscribed topic that does not exist.
struct Missing {
    /// Time at which the log told of it last.
    told: Reminder,
    _shown: Wait,
}

/// The reading side of a handler's work.
pub(crate) struct Ingest {
    config: Arc<Config>,
    handler: Arc<Handler>,
    /// `None` once the group is left.
    consumer: Option<Consumer>,
    /// Tells whether records are taken from it.
    polls: bool,
    finder: Finder,
    subscribed: Vec<String>,
    watched: WatchedTopics,
    /// A subscribed topic was not there at the last look.
    absent: bool,
    /// Subscribed topics that do not exist.
    missing: BTreeMap<String, Missing>,
    topics_due: Instant,
    /// Partitions that Kafka gave to this host.
    assigned: BTreeSet<TopicPartition>,
    logs: BTreeMap<TopicPartition, PartitionLog>,
    /// Moment of the next look at partitions that give nothing.
    quiet_due: Instant,
    /// Some of them are read from.
    reads_quiet: bool,
    kafka: Outage,
    /// Something that this group is refused.
    refused: Outage,
    /// Errors of the consumer that nothing explains.
    unexpected: Outage,
    postgres: Outage,
    waits: Waits,
    tick: Interval,
    reporting: Reporting,
    metrics: IngestMetrics,
    chores: FuturesUnordered<BoxFuture<'static, Chore>>,
}

impl Ingest {
    /// Joins the handler's group.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub(crate) fn new(worker: &Worker) -> Result<Self, KafkaError> {
        let component = worker.handler.current();
        let topics = component.subscriptions().iter().flat_map(|subscription| subscription.topics.iter());
        let mut subscribed: Vec<String> = topics.cloned().collect();
        subscribed.sort();
        subscribed.dedup();
        let config = Arc::clone(&worker.config);
        let group = Arc::clone(&worker.handler.group);
        let waits = worker.db.waits();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            consumer: Some(Consumer::subscribe(&config.kafka, &group, &subscribed)?),
            polls: false,
            finder: Finder {
                config: Arc::clone(&config),
                db: worker.db.clone(),
                session: Arc::clone(&worker.session),
                topics: worker.topics.topics.clone(),
                group: Arc::clone(&group),
            },
            watched: worker.topics.of(&subscribed),
            absent: false,
            subscribed,
            missing: BTreeMap::new(),
            topics_due: Instant::now(),
            assigned: BTreeSet::new(),
            logs: BTreeMap::new(),
            quiet_due: Instant::now(),
            reads_quiet: false,
            kafka: Outage::shared(
                format!("Kafka at {}", config.kafka.brokers),
                worker.topics.spoken.clone(),
                waits.clone(),
            ),
            refused: Outage::of(
                format!("Kafka at {} for group {group}", config.kafka.brokers),
                waits.clone(),
            ),
            unexpected: Outage::of(format!("The consumer of group {}", worker.handler.group), waits.clone()),
            waits,
            postgres: worker.db.outage(),
            tick,
            reporting: Reporting::default(),
            metrics: worker.metrics.of_ingest(&worker.handler),
            chores: FuturesUnordered::new(),
            handler: Arc::clone(&worker.handler),
            config,
        })
    }

    /// Topics that the handler takes.
    pub(crate) fn topics(&self) -> Arc<[String]> {
        self.subscribed.as_slice().into()
    }

    /// Waits for the next thing to happen; with `polls`, for records too. Cancel safe.
    pub(crate) async fn next(&mut self, polls: bool) -> Happened {
        self.polls = polls;
        let rows_max = self.config.ingest.batch_rows_max;
        let bytes_max = BATCH_BYTES_MAX.min(self.config.ingest.in_hand_bytes_max / 4);
        let consumer = self.consumer.as_mut().filter(|_| polls);
        let polled = async {
            match consumer {
                Some(consumer) => consumer.next(rows_max, bytes_max).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(chore) = self.chores.next(), if !self.chores.is_empty() => Happened::Chore(chore),
            event = polled => Happened::Kafka(event),
            _ = self.tick.tick() => Happened::Tick,
        }
    }

    /// Takes what happened; gives what it means for the machine. `lanes` are the assigned partitions and theirs.
    pub(crate) fn take(
        &mut self,
        happened: Happened,
        lanes: impl Iterator<Item = (TopicPartition, LaneId)>,
    ) -> Option<Event> {
        match happened {
            Happened::Kafka(event) => self.consumed(event),
            Happened::Chore(chore) => self.chore_ended(chore),
            Happened::Tick => {
                self.report(lanes);
                self.look_for_topics();
                self.tell_stops();
                self.look_at_quiet();
                self.look_at_ids()
            }
        }
    }

    fn tell_stops(&mut self) {
        for (partition, log) in &mut self.logs {
            log.tell_no_more();
            if let Some(found) = &mut log.found {
                found.tell_stop(&self.handler.group, partition);
            }
        }
    }

    /// Finds where partitions go on whose lanes are ours.
    pub(crate) fn find(&mut self, partitions: Vec<(TopicPartition, Lease)>) {
        let start = self.handler.current().manifest().start;
        let lost = partitions.into_iter().map(|(partition, lease)| {
            let log = self.logs.get(&partition);
            let doubtful = log.and_then(|log| log.doubtful.clone());
            let is_damaged = log.is_some_and(|log| log.damage.is_some());
            (positions::Lost { partition, doubtful, is_damaged }, lease.token)
        });
        let (lost, tokens) = lost.unzip();
        let finder = self.finder.clone();
        self.chores.push(Box::pin(async move { Chore::found(finder, lost, tokens, start).await }));
    }

    /// Fetches partitions from these offsets on; gives those that the consumer refuses.
    pub(crate) fn assign(&mut self, offsets: &[(TopicPartition, i64)]) -> Option<Event> {
        for (partition, offset) in offsets {
            tracing::info!(
                messaging.consumer.group.name = %self.handler.group,
                "Reading {partition} from offset {offset}"
            );
        }
        let error = self.consumer.as_ref()?.assign(offsets).err()?;
        tracing::warn!(%error, "Assigning partitions");
        Some(Event::Displaced(offsets.iter().map(|(partition, _)| partition.clone()).collect()))
    }

    /// Stops fetching partitions.
    pub(crate) fn unassign(&self, partitions: &[TopicPartition]) {
        self.answer(|consumer| consumer.unassign(partitions));
    }

    /// Stops fetching partitions for a while.
    pub(crate) fn pause(&mut self, partitions: &[TopicPartition]) {
        self.answer(|consumer| consumer.pause(partitions));
        self.note_paused(partitions, true);
    }

    /// Goes on fetching partitions.
    pub(crate) fn resume(&mut self, partitions: &[TopicPartition]) {
        self.answer(|consumer| consumer.resume(partitions));
        self.note_paused(partitions, false);
    }

    fn note_paused(&mut self, partitions: &[TopicPartition], is_paused: bool) {
        for partition in partitions {
            self.logs.get_mut(partition).into_iter().for_each(|log| log.quiet.pause(is_paused));
        }
    }

    /// Asks the consumer for something that nobody has to wait for.
    fn answer(&self, ask: impl FnOnce(&Consumer) -> Result<(), KafkaError>) {
        if let Some(Err(error)) = self.consumer.as_ref().map(ask) {
            tracing::debug!(%error, "Changing which partitions are fetched");
        }
    }

    /// Leaves the group, within a bounded time. The lanes are the machine's to give back.
    pub(crate) fn leave(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let consumer = self.consumer.take();
        async move {
            if let Some(consumer) = consumer {
                consumer.close().await;
            }
        }
    }
}
