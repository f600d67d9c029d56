//! What a handler emits: it becomes an outbox row in the transaction that settles the handler's message.

use std::time::Duration;

use uuid::Uuid;

use super::Header;

/// A message for the outbox, already checked against grants and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Derived from the message that emitted it: see [`super::emitted_id`].
    pub id: Uuid,
    /// The Kafka topic to publish to.
    pub topic: String,
    /// For example `invoice.issued`.
    pub event_type: String,
    /// The record's key; `None` has no order.
    pub key: Option<Vec<u8>>,
    /// The record's value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// For example `application/json`.
    pub content_type: Option<String>,
    /// In order; names may repeat.
    pub headers: Vec<Header>,
    /// The version of the payload's schema.
    pub schema_version: Option<String>,
    /// A key already used emits nothing.
    pub idempotency_key: Option<String>,
    /// Not before this much later.
    pub delay: Option<Duration>,
}
