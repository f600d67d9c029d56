//! A message: a row of the inbox or the outbox, and the Kafka record it came from or becomes.
//!
//! Values only. Nothing here knows Kafka, Postgres or WebAssembly; each of their homes translates
//! at its own edge. What arrives is kept as it is: keys, payloads and header values are bytes.

mod decode;
mod header;
mod ids;
mod outgoing;
mod record;
mod text;

use std::sync::Arc;

use uuid::Uuid;

pub use decode::{Decoded, Origin, decode};
pub use header::{Header, HeaderName, headers_from_json, headers_to_json};
pub use ids::{emitted_id, id_time_ms, order_key, place_in_log, record_id};
pub use outgoing::Outgoing;
pub use record::Record;
pub use text::{LAST_ERROR_BYTES_MAX, bounded, one_line, shown_json, shown_lines, tail};

/// A message of the inbox as a handler sees it, with what the host needs to settle it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// The order within the lane.
    pub seq: i64,
    /// The lane that the row lies in.
    pub lane: i32,
    /// Messages with the same order key are handled one after another; `None` has no order.
    pub okey: Option<i64>,
    /// The row's id, the same on every delivery.
    pub id: Uuid,
    /// The producer's id, unique within group, topic and source; the record's place in the log where it gave none.
    pub message_id: String,
    /// The handler's consumer group.
    pub consumer_group: Arc<str>,
    /// The Kafka topic it came from.
    pub topic: Arc<str>,
    /// The Kafka partition it came from.
    pub partition: i32,
    /// The Kafka offset it came from.
    pub offset: i64,
    /// Sender: the `source` header, else `source_service`, else the topic.
    pub source: String,
    /// Type of the event, for example `order.placed`.
    pub event_type: String,
    /// The version of the payload's schema, as the producer says it.
    pub schema_version: Option<String>,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The `content-type` header.
    pub content_type: Option<String>,
    /// All headers in their order, repeats and null values too.
    pub headers: Vec<Header>,
    /// The record's timestamp in milliseconds since 1970, which may be any number.
    pub produced_at_ms: i64,
    /// An opaque trace id, passed on unchanged.
    pub trace_id: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Business conversation to which it belongs.
    pub correlation_id: Option<String>,
    /// The message that caused this one.
    pub causation_id: Option<String>,
    /// The producer's idempotency key, passed on unchanged.
    pub idempotency_key: Option<String>,
    /// Failures counted so far.
    pub attempts_made: u32,
    /// Failures allowed before it is dead.
    pub attempts_max: u32,
    /// Deliveries that ended so far, settled or lost with their host.
    pub deliveries: u32,
    /// Deliveries that were lost with their host.
    pub crashes: u32,
    /// True if it may be handed over once, and was.
    pub begun: bool,
}

/// Memory of a message's places in its lane: its item, its key's queue, its row.
const PLACES_BYTES: usize = 512;

impl Message {
    /// Gives the bytes that it takes in memory, with its places in a lane.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let optional = [
            &self.schema_version,
            &self.content_type,
            &self.trace_id,
            &self.traceparent,
            &self.correlation_id,
            &self.causation_id,
            &self.idempotency_key,
        ];
        let texts = self.message_id.len() + self.source.len() + self.event_type.len();
        let texts = texts + optional.into_iter().flatten().map(String::len).sum::<usize>();
        let data = [&self.key, &self.payload].into_iter().flatten().map(Vec::len).sum::<usize>();
        let headers = self.headers.iter().map(Header::bytes).sum::<usize>();
        size_of::<Self>() + PLACES_BYTES + texts + data + headers
    }

    /// Leaves the message without what a database may refuse: its fields with a bound tell what it was and where it
    /// came from.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self {
            message_id: self.message_id.clone(),
            consumer_group: Arc::clone(&self.consumer_group),
            topic: Arc::clone(&self.topic),
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            key: self.key.clone(),
            schema_version: None,
            payload: None,
            content_type: None,
            headers: Vec::new(),
            trace_id: None,
            traceparent: None,
            correlation_id: None,
            causation_id: None,
            idempotency_key: None,
            ..*self
        }
    }
}
