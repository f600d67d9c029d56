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

pub(crate) use decode::{Decoded, decode};
pub(crate) use header::{Header, HeaderName, headers_from_json, headers_to_json};
pub(crate) use ids::{emitted_id, order_key};
pub(crate) use outgoing::Outgoing;
pub(crate) use record::Record;
pub(crate) use text::{LAST_ERROR_BYTES_MAX, bounded, tail};

/// A message of the inbox as a handler sees it, with what the host needs to settle it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The order within the lane.
    pub(crate) seq: i64,
    /// The lane that the row lies in.
    pub(crate) lane: i32,
    /// Messages with the same order key are handled one after another; `None` has no order.
    pub(crate) okey: Option<i64>,
    /// The row's id, the same on every delivery.
    pub(crate) id: Uuid,
    /// The producer's id, unique within the consumer group.
    pub(crate) message_id: String,
    /// The handler's consumer group.
    pub(crate) consumer_group: Arc<str>,
    /// The Kafka topic it came from.
    pub(crate) topic: Arc<str>,
    /// The Kafka partition it came from.
    pub(crate) partition: i32,
    /// The Kafka offset it came from.
    pub(crate) offset: i64,
    /// Who sent it: the `source` header, else `source_service`, else the topic.
    pub(crate) source: String,
    /// For example `order.placed`.
    pub(crate) event_type: String,
    /// The version of the payload's schema, as the producer says it.
    pub(crate) schema_version: Option<String>,
    /// The record's key.
    pub(crate) key: Option<Vec<u8>>,
    /// The record's value; `None` is a tombstone.
    pub(crate) payload: Option<Vec<u8>>,
    /// The `content-type` header.
    pub(crate) content_type: Option<String>,
    /// All headers in their order, repeats and null values too.
    pub(crate) headers: Vec<Header>,
    /// The record's timestamp in milliseconds since 1970, which may be any number.
    pub(crate) produced_at_ms: i64,
    /// An opaque trace id, passed on unchanged.
    pub(crate) trace_id: Option<String>,
    /// W3C trace context.
    pub(crate) traceparent: Option<String>,
    /// What business conversation it belongs to.
    pub(crate) correlation_id: Option<String>,
    /// The message that caused this one.
    pub(crate) causation_id: Option<String>,
    /// The producer's dedup key, passed on unchanged.
    pub(crate) idempotency_key: Option<String>,
    /// Failures counted so far.
    pub(crate) attempts_made: u32,
    /// Failures allowed before it is dead.
    pub(crate) attempts_max: u32,
    /// Deliveries that ended so far, settled or lost with their host.
    pub(crate) deliveries: u32,
    /// Deliveries that were lost with their host.
    pub(crate) crashes: u32,
    /// It may be handed over once, and was.
    pub(crate) begun: bool,
}
