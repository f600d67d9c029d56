//! From a poll's records to a batch of rows. Pure but for the ids it draws.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::matching;
use super::partition::{Lane, Partition, Position};
use crate::config::Form;
use crate::handler::{Component, Handler};
use crate::inbox::{Advance, Batch, NewRow};
use crate::kafka::Place;
use crate::lane::Lease;
use crate::message::{Decoded, Message, Record, decode, order_key};

/// What a poll's records come to.
#[derive(Debug)]
pub(super) struct Sorted {
    pub(super) batch: Batch,
    /// Records that no subscription takes.
    pub(super) unmatched: usize,
}

/// Sorts records into rows. Records of partitions that are not read, and offsets that are stored
/// already, are left out: they come again or came before.
pub(super) fn sort(
    handler: &Handler,
    partitions: &mut HashMap<Place, Partition>,
    records: Vec<(Arc<str>, Record)>,
) -> Sorted {
    let component = handler.current();
    let mut advances: HashMap<Place, (Lease, Advance)> = HashMap::new();
    let mut rows = Vec::with_capacity(records.len());
    let mut unmatched = 0;
    for (topic, record) in records {
        let place = Place { topic: Arc::clone(&topic), partition: record.partition };
        let Some((lane, position)) = partitions.get_mut(&place).and_then(Partition::live) else { continue };
        let from = advances.get(&place).map_or(position.next, |(_, advance)| advance.to);
        if record.offset < from {
            continue;
        }
        let (_, advance) = advances.entry(place).or_insert_with(|| {
            let advance =
                Advance { topic, partition: record.partition, epoch: position.epoch, from, to: from };
            (lane.lease.clone(), advance)
        });
        advance.to = record.offset + 1;
        match row(handler, &component, (lane, position), &advance.topic, record) {
            Some(row) => rows.push(row),
            None => unmatched += 1,
        }
    }
    // Rows behind a backlog wait in Postgres: nothing of them is begun.
    let lanes = partitions.values().filter_map(|partition| partition.lane.as_ref());
    let direct = lanes.filter(|lane| !lane.backlog).map(|lane| lane.lease.lane).collect();
    let (leases, advances) = advances.into_values().unzip();
    let batch = Batch {
        group: Arc::clone(&handler.group),
        handler: Arc::from(handler.name.as_str()),
        attempts_max: component.manifest().retry.attempts_max,
        dead_letters: component.manifest().dead_letter_topic.clone(),
        leases,
        direct,
        advances,
        rows,
    };
    Sorted { batch, unmatched }
}

/// The record's row; `None` where no subscription takes it.
fn row(
    handler: &Handler,
    component: &Component,
    (lane, position): (&Lane, &Position),
    topic: &Arc<str>,
    record: Record,
) -> Option<NewRow> {
    // A topic that is deleted and made again counts its offsets from 0: its id tells them apart.
    let place = match position.topic_id {
        Some(id) => format!("{topic}:{}:{}:{id}", record.partition, record.offset),
        None => format!("{topic}:{}:{}", record.partition, record.offset),
    };
    let (decoded, undecodable) = match decode(&record, topic, &place) {
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
    let message = message(handler, lane, topic, record, decoded);
    if undecodable.is_some() {
        return Some(NewRow { message, quarantined: undecodable });
    }
    let subscription = matching::first(component.subscriptions(), &message)?;
    let text = message.payload.as_deref().is_none_or(|payload| std::str::from_utf8(payload).is_ok());
    let quarantined = (subscription.form == Form::Text && !text)
        .then(|| "the payload is not UTF-8, and the subscription asks for text".to_owned());
    Some(NewRow { message, quarantined })
}

fn message(handler: &Handler, lane: &Lane, topic: &Arc<str>, record: Record, decoded: Decoded) -> Message {
    Message {
        // Drawn by the insert.
        seq: 0,
        lane: lane.lease.lane,
        okey: order_key(topic, record.partition, record.key.as_deref()),
        id: Uuid::now_v7(),
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
        attempts_max: handler.current().manifest().retry.attempts_max,
        deliveries: 0,
        crashes: 0,
    }
}
