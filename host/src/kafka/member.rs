//! One librdkafka consumer: a member of a handler's group from its subscription until it leaves.

use std::sync::Arc;
use std::time::Duration;

use mailroom_core::ids::TopicPartition;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError as RdKafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::consumer::Event;
use super::error::Remedy;
use super::login::Login;
use super::meaning::{Meaning, meaning};
use super::probe::Damage;
use super::queue::{ConsumerQueue, Failure, QueueEvent};
use super::voice;
use super::{KafkaError, client};
use crate::config;

/// Limit of leaving the group, which is a courtesy to the other members.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        voice::log(level, facility, message);
    }

    fn error(&self, error: RdKafkaError, reason: &str) {
        voice::error(error.rdkafka_error_code(), reason);
    }
}

impl ConsumerContext for Context {
    /// Rebalances come out of the queue but when the consumer is dropped: nobody else would answer then, and the drop
    /// would hang.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        reason: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let answer = if reason == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            consumer.incremental_assign(&TopicPartitionList::new())
        } else {
            consumer.incremental_unassign(list)
        };
        if let Err(error) = answer {
            tracing::debug!(%error, "Answering a rebalance while closing");
        }
    }
}

/// A consumer and what it met behind records.
pub(super) struct Member {
    queue: ConsumerQueue<Context>,
    /// Told when there is something in a queue that was empty.
    filled: Arc<Notify>,
    /// An event that was met behind records, and comes next.
    next: Option<Event>,
    login: Login,
}

impl Member {
    /// Joins the group. Kafka may be away: the client goes on trying.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting, which it names.
    pub(super) fn join(kafka: &config::Kafka, group: &str, topics: &[String]) -> Result<Self, KafkaError> {
        let doing = "making a consumer";
        let mut consumer: BaseConsumer<Context> =
            client::consumer(kafka, group).create_with_context(Context).map_err(KafkaError::new(doing))?;
        let filled = Arc::new(Notify::new());
        let fills = Arc::clone(&filled);
        consumer.set_nonempty_callback(move || fills.notify_one());
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(KafkaError::new("subscribing"))?;
        let queue = ConsumerQueue::of(consumer).ok_or_else(|| {
            KafkaError::new(doing)(RdKafkaError::ClientCreation("it has no queue".to_owned()))
        })?;
        Ok(Self { queue, filled, next: None, login: Login::of(kafka) })
    }

    /// The next event; records come as many as are there, within the bounds. Cancel safe.
    pub(super) async fn next(&mut self, rows_max: usize, bytes_max: usize) -> Event {
        loop {
            if let Some(event) = self.next.take().or_else(|| self.take(rows_max, bytes_max)) {
                return event;
            }
            self.filled.notified().await;
        }
    }

    /// Takes what is there already.
    fn take(&mut self, rows_max: usize, bytes_max: usize) -> Option<Event> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < rows_max && bytes < bytes_max {
            match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(QueueEvent::Record(topic, record)) => {
                    bytes += record.bytes();
                    records.push((topic, record));
                }
                Some(other) => {
                    // librdkafka says everything once.
                    self.next = Some(self.event(other));
                    break;
                }
            }
        }
        if records.is_empty() { self.next.take() } else { Some(Event::Records(records)) }
    }

    fn event(&self, event: QueueEvent) -> Event {
        match event {
            QueueEvent::Record(topic, record) => Event::Records(vec![(topic, record)]),
            QueueEvent::Assigned(places) => Event::Assigned(places),
            QueueEvent::Revoked(places) => Event::Revoked(places),
            QueueEvent::Failed(failure) => self.translate(failure),
        }
    }

    fn translate(&self, failure: Failure) -> Event {
        // The error itself only says that the client is given up.
        if let Some((_, reason)) = self.queue.consumer.client().fatal_error() {
            return Event::Fatal(reason);
        }
        let Failure { code, reason, place, is_fatal } = failure;
        if is_fatal {
            return Event::Fatal(reason);
        }
        if Login::is_refusal(code) {
            self.login.renew(self.queue.consumer.client().native_ptr());
        }
        if place.is_none() {
            voice::error(Some(code), &reason);
        }
        // Without the reason, which may say how often or how long: the same error shall look the same.
        let error = format!("{code}{}", Remedy(Some(code)));
        let told = format!("{code}: {reason}{}", Remedy(Some(code)));
        match (meaning(code), place) {
            (Some(Meaning::Client), _) => Event::Fatal(told),
            (Some(Meaning::Data), Some((partition, offset))) => {
                Event::Damaged(partition, Damage::new(code, offset, told))
            }
            (Some(Meaning::OutOfLog), place) => Event::OutOfLog(place.map(|(partition, _)| partition)),
            (Some(Meaning::Partition), Some((partition, _))) => Event::Sick(partition, told),
            (Some(Meaning::Topic | Meaning::Data), _) => Event::TopicUnavailable(told),
            (Some(Meaning::Outage | Meaning::Partition), _) => Event::Away(error),
            (Some(Meaning::Operator(remedy)), _) => Event::Refused(code.to_string(), remedy),
            (Some(Meaning::Passing | Meaning::Full | Meaning::Timestamp), _) => Event::Passing(error),
            (Some(Meaning::Bug), _) => Event::Faulty(error),
            (None, _) => Event::Unexpected(error),
        }
    }

    /// Reads partitions from these offsets.
    pub(super) fn assign(&self, places: &[(TopicPartition, i64)]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for (place, offset) in places {
            list.add_partition_offset(&place.topic, place.partition, Offset::Offset(*offset))
                .map_err(KafkaError::new("assigning partitions"))?;
        }
        self.queue.consumer.incremental_assign(&list).map_err(KafkaError::new("assigning partitions"))
    }

    /// Gives partitions up.
    pub(super) fn unassign(&self, places: &[TopicPartition]) -> Result<(), KafkaError> {
        // A place that is not read would make librdkafka refuse all of them.
        let read = self.queue.consumer.assignment().map_err(KafkaError::new("giving partitions up"))?;
        let read = self::places(&read);
        let places: Vec<TopicPartition> =
            places.iter().filter(|place| read.contains(place)).cloned().collect();
        self.queue
            .consumer
            .incremental_unassign(&list(&places))
            .map_err(KafkaError::new("giving partitions up"))
    }

    /// Stops fetching; the assignment stays.
    pub(super) fn pause(&self, places: &[TopicPartition]) -> Result<(), KafkaError> {
        self.queue.consumer.pause(&list(places)).map_err(KafkaError::new("pausing partitions"))
    }

    /// Fetches again, from where it stopped.
    pub(super) fn resume(&self, places: &[TopicPartition]) -> Result<(), KafkaError> {
        self.queue.consumer.resume(&list(places)).map_err(KafkaError::new("resuming partitions"))
    }

    /// Commits offsets to Kafka without waiting for the answer.
    pub(super) fn report(&self, places: &[(TopicPartition, i64)]) {
        let mut offsets = TopicPartitionList::new();
        for (place, offset) in places {
            if offsets.add_partition_offset(&place.topic, place.partition, Offset::Offset(*offset)).is_err() {
                return;
            }
        }
        if let Err(error) = self.queue.consumer.commit(&offsets, CommitMode::Async) {
            tracing::debug!(%error, "Reporting offsets to Kafka");
        }
    }

    /// Leaves the group, within a bounded time.
    pub(super) async fn leave(self) {
        if tokio::time::timeout(LEAVE_WITHIN, self.begin_to_leave()).await.is_err() {
            tracing::debug!("Kafka did not confirm that the group was left");
        }
    }

    /// Leaves the group on a thread of its own, which nobody has to wait for.
    pub(super) fn begin_to_leave(mut self) -> JoinHandle<()> {
        // A rebalance that is not answered would keep the drop waiting.
        let answered = match self.next.take() {
            Some(Event::Revoked(places)) => self.unassign(&places),
            Some(Event::Assigned(_)) => self.assign(&[]),
            Some(_) | None => Ok(()),
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "Answering a rebalance while closing");
        }
        tokio::task::spawn_blocking(move || drop(self))
    }
}

fn places(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let place = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| TopicPartition {
        topic: element.topic().into(),
        partition: element.partition(),
    };
    list.elements().iter().map(place).collect()
}

fn list(places: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(places.len());
    for place in places {
        list.add_partition(&place.topic, place.partition);
    }
    list
}
