//! Events of the consumer, and the messages that are made of the records of a poll.

use std::collections::BTreeMap;
use std::sync::Arc;

use mailroom_core::handler_machine::event::{Polled, PolledRecord};
use mailroom_core::ids::TopicPartition;
use tokio::time::Instant;
use uuid::Uuid;

use super::chores::Chore;
use super::partition_log::PartitionLog;
use super::{Event, Ingest, TICK, matching};
use crate::config::{Ack, Form};
use crate::handler::{Component, Handler};
use crate::kafka::{self, Damage};
use crate::message::{Decoded, Message, Origin, Record, decode, order_key, place_in_log, record_id};
use crate::outage::Urgency;

impl Ingest {
    /// Takes an event of the consumer; gives what it means for the machine.
    pub(super) fn consumed(&mut self, event: kafka::Event) -> Option<Event> {
        match event {
            kafka::Event::Records(records) => {
                self.kafka_serves();
                self.reporting.moved();
                Some(Event::Polled(self.polled(records)))
            }
            kafka::Event::Assigned(partitions) => {
                self.kafka_serves();
                // Kafka pauses everything until this is answered; offsets come once lanes are ours.
                self.answer(|consumer| consumer.assign(&[]));
                self.assigned.extend(partitions.iter().cloned());
                Some(Event::Assigned(partitions))
            }
            kafka::Event::Revoked(partitions) => Some(self.revoked(partitions)),
            kafka::Event::OutOfLog(Some(partition)) => Some(Event::Displaced(vec![partition])),
            kafka::Event::OutOfLog(None) => Some(Event::Displaced(self.logs.keys().cloned().collect())),
            kafka::Event::Damaged(partition, damage) => {
                self.damaged(partition, damage).map(|partition| Event::Displaced(vec![partition]))
            }
            kafka::Event::Sick(partition, error) => {
                if let Some(log) = self.logs.get_mut(&partition) {
                    log.is_sick(&partition, &error, &self.waits);
                }
                None
            }
            kafka::Event::TopicUnavailable(error) => {
                self.watched.hurry();
                tracing::debug!(%error, "A subscribed topic is missing or closed to us");
                self.topics_due = self.topics_due.min(Instant::now() + TICK);
                None
            }
            kafka::Event::Away(error) => {
                self.kafka.failed(&error);
                None
            }
            kafka::Event::Refused(error, remedy) => {
                self.refused.failed_as(Urgency::Act(remedy), &error);
                None
            }
            kafka::Event::Passing(error) => {
                tracing::debug!("The consumer of group {} goes on: {error}", self.handler.group);
                None
            }
            kafka::Event::Unexpected(error) => {
                self.unexpected.failed(&error);
                None
            }
            kafka::Event::Faulty(error) => {
                self.unexpected.failed_as(Urgency::Bug, &error);
                None
            }
            kafka::Event::Stuck(error) => {
                let (topics, subscribed) = (self.finder.topics.clone(), self.subscribed.clone());
                self.chores.push(Box::pin(async move {
                    Chore::OthersAnswered(topics.describe(subscribed).await.map(drop), error)
                }));
                None
            }
            kafka::Event::Fatal(error) => Some(self.rejoin(&error)),
        }
    }

    /// Ends all that kept records from coming.
    fn kafka_serves(&mut self) {
        self.kafka.over();
        self.refused.over();
        self.unexpected.over();
    }

    /// Gives the partition back where its position is to be found anew, where the gap policy applies: what follows damage
    /// in the queue may lie behind it, and is not taken.
    pub(super) fn damaged(&mut self, partition: TopicPartition, damage: Damage) -> Option<TopicPartition> {
        let log = self.logs.get_mut(&partition)?;
        if log.found.as_ref().is_none_or(|found| found.stopped.is_some()) {
            return None;
        }
        tracing::debug!("{partition} cannot be read at offset {}: {}", damage.offset, damage.reason);
        log.found = None;
        log.damage = Some(damage);
        Some(partition)
    }

    fn revoked(&mut self, partitions: Vec<TopicPartition>) -> Event {
        for partition in &partitions {
            self.assigned.remove(partition);
            self.logs.remove(partition);
        }
        Event::Revoked(partitions)
    }

    /// Drops the consumer and all that it was assigned. What is in Postgres goes on.
    pub(super) fn rejoin(&mut self, error: &str) -> Event {
        let wait = self.consumer.as_mut().map(kafka::Consumer::rejoin).unwrap_or_default();
        let group = &self.handler.group;
        tracing::error!(
            messaging.consumer.group.name = %group,
            "The consumer of group {group} is given up: {error}. Its partitions are free for others; another one \
             joins in {} s. If this repeats, check that this user may read group {group} and that nothing else uses it",
            wait.as_secs()
        );
        let assigned = self.assigned.iter().cloned().collect();
        self.revoked(assigned)
    }
}

impl Ingest {
    /// Makes messages of records. Those of partitions that are not read are left out: they come again.
    pub(super) fn polled(&mut self, records: Vec<(Arc<str>, Record)>) -> Vec<Polled> {
        let component = self.handler.current();
        let id_header = self.config.ingest.id_header.as_deref();
        let mut polled: BTreeMap<TopicPartition, Polled> = BTreeMap::new();
        let mut unmatched = 0_u64;
        for (topic, record) in records {
            let partition = TopicPartition { topic, partition: record.partition };
            let Some(log) = self.logs.get_mut(&partition).and_then(|log| log.found.as_mut()) else {
                continue;
            };
            // Taken before.
            if log.stopped.is_some() || record.offset < log.next {
                continue;
            }
            log.next = record.offset + 1;
            self.metrics.consumed(&partition.topic);
            let of_partition = polled.entry(partition.clone()).or_insert_with(|| Polled {
                partition: partition.clone(),
                to: 0,
                records: Vec::new(),
            });
            of_partition.to = log.next;
            if log.passes_over(&record) {
                continue;
            }
            let of = (&partition.topic, log.topic_id);
            match message_of(&self.handler, &component, of, id_header, record) {
                Some(record) => of_partition.records.push(record),
                None => unmatched += 1,
            }
        }
        for partition in polled.keys() {
            self.logs.get_mut(partition).into_iter().for_each(PartitionLog::gives);
        }
        if unmatched > 0 {
            self.metrics.unmatched(unmatched);
            let name = &self.handler.name;
            tracing::debug!(handler.name = %name, "{unmatched} records match no subscription");
        }
        polled.into_values().collect()
    }
}

/// The record's message; `None` where no subscription takes it.
fn message_of(
    handler: &Handler,
    component: &Component,
    (topic, topic_id): (&Arc<str>, Uuid),
    id_header: Option<&str>,
    record: Record,
) -> Option<PolledRecord> {
    let place = place_in_log(topic, record.partition, record.offset, topic_id);
    let origin = Origin { topic, place: &place, id_header };
    let (decoded, undecodable) = match decode(&record, origin) {
        Ok(decoded) => (decoded, None),
        Err(error) => {
            let text = |text: &str| text.to_owned();
            let bare = Decoded {
                message_id: place,
                event_type: text(topic),
                source: text(topic),
                ..Decoded::default()
            };
            (bare, Some(error.to_string()))
        }
    };
    let message = message(handler, component, (topic, topic_id), (record, decoded));
    if let Some(reason) = undecodable {
        return Some(PolledRecord { message, unfit: Some(reason.into()) });
    }
    let subscription = matching::first(component.subscriptions(), &message)?;
    let text = message.payload.as_deref().is_none_or(|payload| std::str::from_utf8(payload).is_ok());
    let unfit = (subscription.form == Form::Text && !text)
        .then(|| "the payload is not UTF-8, and the subscription asks for text".into());
    Some(PolledRecord { message, unfit })
}

fn message(
    handler: &Handler,
    component: &Component,
    (topic, topic_id): (&Arc<str>, Uuid),
    (record, decoded): (Record, Decoded),
) -> Message {
    let manifest = component.manifest();
    let okey = order_key(topic, record.partition, record.key.as_deref());
    Message {
        // Place and lane are given to it by the machine.
        seq: 0,
        lane: 0,
        okey: okey.filter(|_| manifest.ordered),
        id: record_id(&handler.group, topic, topic_id, record.partition, record.offset, record.timestamp_ms),
        message_id: decoded.message_id,
        consumer_group: Arc::clone(&handler.group),
        topic: Arc::clone(topic),
        partition: record.partition,
        offset: record.offset,
        source: decoded.source,
        event_type: decoded.event_type,
        schema_version: decoded.schema_version,
        key: record.key,
        payload: record.payload,
        content_type: decoded.content_type,
        headers: record.headers,
        produced_at_ms: record.timestamp_ms,
        trace_id: decoded.trace_id,
        traceparent: decoded.traceparent,
        correlation_id: decoded.correlation_id,
        causation_id: decoded.causation_id,
        idempotency_key: decoded.idempotency_key,
        attempts_made: 0,
        // What may be called once may fail once.
        attempts_max: if manifest.ack == Ack::AtMostOnce { 1 } else { manifest.retry.attempts_max },
        deliveries: 0,
        crashes: 0,
        begun: false,
    }
}
