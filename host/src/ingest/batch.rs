//! From a poll's records to a batch of rows. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::matching;
use super::partition::{Lane, Partition, Position};
use crate::config::{Ack, Form, Settle};
use crate::handler::{Component, Handler};
use crate::kafka::Place;
use crate::message::{Decoded, Message, Record, decode, order_key, place_in_log, record_id};
use crate::settle::{Advance, Fresh, FreshRow};

/// What a poll's records come to.
#[derive(Debug)]
pub(super) struct Sorted {
    /// By lane.
    pub(super) fresh: Vec<Fresh>,
    /// Records that no subscription takes.
    pub(super) unmatched: usize,
    /// Whether they are to be stored before any of them is handled.
    pub(super) stored_first: bool,
}

/// Sorts records, each with a place in the order of the inbox, into rows. Records of partitions that are not
/// read, and offsets that were taken already, are left out: they come again or came before.
pub(super) fn sort(
    handler: &Handler,
    partitions: &mut HashMap<Place, Partition>,
    records: Vec<(i64, Arc<str>, Record)>,
) -> Sorted {
    let component = handler.current();
    let manifest = component.manifest();
    // A message whose call may use SQL is settled by its row.
    let mut stored_first =
        manifest.ack == Ack::AtMostOnce || manifest.settle == Settle::Single || manifest.grants.sql.is_some();
    let mut fresh: HashMap<i32, Fresh> = HashMap::new();
    let mut unmatched = 0;
    for (seq, topic, record) in records {
        let place = Place { topic: Arc::clone(&topic), partition: record.partition };
        let Some((lane, position)) = partitions.get_mut(&place).and_then(Partition::live) else { continue };
        if record.offset < position.next {
            continue;
        }
        let (from, epoch) = (position.next, position.epoch);
        let of_lane = fresh.entry(lane.lease.lane).or_insert_with(|| {
            let advance = Advance { topic, partition: record.partition, epoch, from, to: from };
            Fresh { lease: lane.lease.clone(), direct: true, advance, rows: Vec::new() }
        });
        of_lane.advance.to = record.offset + 1;
        position.next = of_lane.advance.to;
        stored_first |= record.offset < position.careful_to;
        if position.passes_over(&record) {
            continue;
        }
        match row(handler, &component, (lane, position), &of_lane.advance.topic, record) {
            Some((message, unfit)) => {
                lane.take(seq);
                let message = Arc::new(Message { seq, ..message });
                of_lane.rows.push(FreshRow { message, unfit });
            }
            None => unmatched += 1,
        }
        // Rows behind a backlog wait in Postgres: nothing of them is begun.
        of_lane.direct = !lane.backlog;
    }
    Sorted { fresh: fresh.into_values().collect(), unmatched, stored_first }
}

impl Position {
    /// Whether the record was stored before its topic was seen to be another one.
    fn passes_over(&mut self, record: &Record) -> bool {
        !self.passed_over.is_empty()
            && self.passed_over.remove(&(record.offset, record.timestamp_ms, record.key.clone()))
    }
}

impl Lane {
    /// A record of it got this place.
    fn take(&mut self, seq: i64) {
        // What an operator touched goes before what is taken now.
        self.backlog |= self.lease.wants_reread();
        if self.backlog {
            self.away_to = self.away_to.max(seq);
        } else {
            self.mark = self.mark.max(seq);
        }
    }
}

/// The record's row; `None` where no subscription takes it.
fn row(
    handler: &Handler,
    component: &Component,
    (lane, position): (&Lane, &Position),
    topic: &Arc<str>,
    record: Record,
) -> Option<(Message, Option<String>)> {
    let place = place_in_log(topic, record.partition, record.offset, position.topic_id);
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
    let message = message(handler, component, (lane, position), topic, (record, decoded));
    if undecodable.is_some() {
        return Some((message, undecodable));
    }
    let subscription = matching::first(component.subscriptions(), &message)?;
    let text = message.payload.as_deref().is_none_or(|payload| std::str::from_utf8(payload).is_ok());
    let unfit = (subscription.form == Form::Text && !text)
        .then(|| "the payload is not UTF-8, and the subscription asks for text".to_owned());
    Some((message, unfit))
}

fn message(
    handler: &Handler,
    component: &Component,
    (lane, position): (&Lane, &Position),
    topic: &Arc<str>,
    (record, decoded): (Record, Decoded),
) -> Message {
    let manifest = component.manifest();
    Message {
        // Given to it once it is known to be one of ours.
        seq: 0,
        lane: lane.lease.lane,
        okey: order_key(topic, record.partition, record.key.as_deref()),
        id: record_id(
            &handler.group,
            topic,
            position.topic_id,
            record.partition,
            record.offset,
            record.timestamp_ms,
        ),
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
