//! One librdkafka consumer: a member of a handler's group from its subscription until it leaves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use mailroom_core::ids::TopicPartition;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};
use rdkafka::{ClientContext, Message as _, Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::consumer::Event;
use super::voice::Voice;
use super::{KafkaError, client, native};
use crate::config;
use crate::message::Record;

/// Limit of leaving the group, which is a courtesy to the other members.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

struct Context {
    rebalances: mpsc::UnboundedSender<Event>,
    voice: Voice,
    /// Set before the consumer is dropped: nobody would answer then, and the drop would hang.
    closing: AtomicBool,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Voice::log(level, facility, message);
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        self.voice.error(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        reason: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let assigned = reason == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let places = places(list);
        let event = if assigned { Event::Assigned(places) } else { Event::Revoked(places) };
        if self.closing.load(Ordering::SeqCst) || self.rebalances.send(event).is_err() {
            let answer = if assigned {
                consumer.incremental_assign(&TopicPartitionList::new())
            } else {
                consumer.incremental_unassign(list)
            };
            if let Err(error) = answer {
                tracing::debug!(%error, "Answering a rebalance while closing");
            }
        }
    }
}

/// A consumer and the rebalances that it has not handed out.
pub(super) struct Member {
    inner: Arc<StreamConsumer<Context>>,
    rebalances: mpsc::UnboundedReceiver<Event>,
    topics: HashMap<String, Arc<str>>,
    /// An event that was met behind records, and comes next.
    next: Option<Event>,
}

impl Member {
    /// Joins the group. Kafka may be away: the client goes on trying.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting, which it names.
    pub(super) fn join(kafka: &config::Kafka, group: &str, topics: &[String]) -> Result<Self, KafkaError> {
        let (sender, rebalances) = mpsc::unbounded_channel();
        let context =
            Context { rebalances: sender, voice: Voice::default(), closing: AtomicBool::new(false) };
        let inner: StreamConsumer<Context> = client::consumer(kafka, group)
            .create_with_context(context)
            .map_err(KafkaError::new("making a consumer"))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        inner.subscribe(&names).map_err(KafkaError::new("subscribing"))?;
        let topics = topics.iter().map(|topic| (topic.clone(), Arc::from(topic.as_str()))).collect();
        Ok(Self { inner: Arc::new(inner), rebalances, topics, next: None })
    }

    /// The next event; records come as many as are there, within the bounds. Cancel safe.
    pub(super) async fn next(&mut self, rows_max: usize, bytes_max: usize) -> Event {
        if let Some(event) = self.next.take() {
            return event;
        }
        let inner = Arc::clone(&self.inner);
        let first = tokio::select! {
            biased;
            Some(event) = self.rebalances.recv() => return event,
            first = inner.recv() => first,
        };
        let mut records = match first {
            Ok(message) => vec![self.record(&message)],
            Err(error) => return self.translate(&error),
        };
        let mut bytes = size(&records);
        while records.len() < rows_max && bytes < bytes_max {
            let message = match inner.recv().now_or_never() {
                None => break,
                Some(Ok(message)) => message,
                // librdkafka reports an error once.
                Some(Err(error)) => {
                    self.next = Some(self.translate(&error));
                    break;
                }
            };
            let record = self.record(&message);
            bytes += record.1.payload.as_ref().map_or(0, Vec::len);
            records.push(record);
        }
        Event::Records(records)
    }

    fn record(&mut self, message: &BorrowedMessage<'_>) -> (Arc<str>, Record) {
        let topic = match self.topics.get(message.topic()) {
            Some(topic) => Arc::clone(topic),
            None => Arc::from(message.topic()),
        };
        let record = Record {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: native::headers(message),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        };
        (topic, record)
    }

    fn translate(&self, error: &rdkafka::error::KafkaError) -> Event {
        // The error itself only says that the client is given up.
        if let Some((_, reason)) = self.inner.client().fatal_error() {
            return Event::Fatal(reason);
        }
        match error.rdkafka_error_code() {
            Some(code) if is_fatal(code) => Event::Fatal(error.to_string()),
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Event::OutOfLog,
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::TopicAuthorizationFailed) => {
                Event::TopicUnavailable(error.to_string())
            }
            _ => Event::Away(error.to_string()),
        }
    }

    /// Reads partitions from these offsets.
    pub(super) fn assign(&self, places: &[(TopicPartition, i64)]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for (place, offset) in places {
            list.add_partition_offset(&place.topic, place.partition, Offset::Offset(*offset))
                .map_err(KafkaError::new("assigning partitions"))?;
        }
        self.inner.incremental_assign(&list).map_err(KafkaError::new("assigning partitions"))
    }

    /// Gives partitions up.
    pub(super) fn unassign(&self, places: &[TopicPartition]) -> Result<(), KafkaError> {
        // A place that is not read would make librdkafka refuse all of them.
        let read = self.inner.assignment().map_err(KafkaError::new("giving partitions up"))?;
        let read = self::places(&read);
        let places: Vec<TopicPartition> =
            places.iter().filter(|place| read.contains(place)).cloned().collect();
        self.inner.incremental_unassign(&list(&places)).map_err(KafkaError::new("giving partitions up"))
    }

    /// Stops fetching; the assignment stays.
    pub(super) fn pause(&self, places: &[TopicPartition]) -> Result<(), KafkaError> {
        self.inner.pause(&list(places)).map_err(KafkaError::new("pausing partitions"))
    }

    /// Fetches again, from where it stopped.
    pub(super) fn resume(&self, places: &[TopicPartition]) -> Result<(), KafkaError> {
        self.inner.resume(&list(places)).map_err(KafkaError::new("resuming partitions"))
    }

    /// Commits offsets to Kafka without waiting for the answer.
    pub(super) fn report(&self, places: &[(TopicPartition, i64)]) {
        let mut offsets = TopicPartitionList::new();
        for (place, offset) in places {
            if offsets.add_partition_offset(&place.topic, place.partition, Offset::Offset(*offset)).is_err() {
                return;
            }
        }
        if let Err(error) = self.inner.commit(&offsets, CommitMode::Async) {
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
        self.inner.context().closing.store(true, Ordering::SeqCst);
        // A rebalance that is not answered would keep the drop waiting.
        while let Ok(event) = self.rebalances.try_recv() {
            let answered =
                if let Event::Revoked(places) = &event { self.unassign(places) } else { self.assign(&[]) };
            if let Err(error) = answered {
                tracing::debug!(%error, "Answering a rebalance while closing");
            }
        }
        let inner = self.inner;
        tokio::task::spawn_blocking(move || drop(inner))
    }
}

/// Whether the client can do nothing more with its group, whether or not librdkafka says so itself.
fn is_fatal(code: Code) -> bool {
    matches!(code, Code::Fatal | Code::FencedInstanceId | Code::GroupAuthorizationFailed)
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

fn size(records: &[(Arc<str>, Record)]) -> usize {
    records.iter().map(|(_, record)| record.payload.as_ref().map_or(0, Vec::len)).sum()
}
