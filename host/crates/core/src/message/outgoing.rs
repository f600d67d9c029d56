//! Message that a handler emits: it becomes an outbox row in the transaction that settles the handler's
//! message.

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
    /// Type of the event, for example `invoice.issued`.
    pub event_type: String,
    /// The record's key; `None` has no order.
    pub key: Option<Vec<u8>>,
    /// The record's value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Type of the payload, for example `application/json`.
    pub content_type: Option<String>,
    /// Headers in order; names may repeat.
    pub headers: Vec<Header>,
    /// The version of the payload's schema.
    pub schema_version: Option<String>,
    /// A key already used emits nothing.
    pub idempotency_key: Option<String>,
    /// Time before which it is not published, from its commit.
    pub delay: Option<Duration>,
}

impl Outgoing {
    /// Gives the bytes that it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let optional = [&self.content_type, &self.schema_version, &self.idempotency_key];
        let texts = optional.into_iter().flatten().map(String::len).sum::<usize>();
        let data = [&self.key, &self.payload].into_iter().flatten().map(Vec::len).sum::<usize>();
        let headers = self.headers.iter().map(Header::bytes).sum::<usize>();
        size_of::<Self>() + self.topic.len() + self.event_type.len() + texts + data + headers
    }
}
