//! Conversion of a poll's records to messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use mailroom_core::handler_machine::event::{Polled, PolledRecord};
use mailroom_core::ids::TopicPartition;
use uuid::Uuid;

use super::partition_log::PartitionLog;
use super::{Ingest, matching};
use crate::config::{Ack, Form};
use crate::handler::{Component, Handler};
use crate::message::{Decoded, Message, Origin, Record, decode, order_key, place_in_log, record_id};

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
