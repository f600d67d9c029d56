//! Building what a native handler emits.

use std::time::Duration;

use uuid::Uuid;

use super::Message;
use crate::message::{self, Header, HeaderName};

/// A message to emit with [`Call::publish`](super::Call::publish). Without a key it has no order, without a
/// payload it is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "publish it"]
pub struct Outgoing(pub(super) message::Outgoing);

impl Outgoing {
    /// Makes a message to a Kafka topic that the handler's manifest grants, with an event type such as
    /// `invoice.issued`.
    pub fn new(topic: impl Into<String>, event_type: impl Into<String>) -> Self {
        Self(message::Outgoing {
            // Given by its place in the call when it is published.
            id: Uuid::nil(),
            topic: topic.into(),
            event_type: event_type.into(),
            key: None,
            payload: None,
            content_type: None,
            headers: Vec::new(),
            schema_version: None,
            idempotency_key: None,
            delay: None,
        })
    }

    /// The record's key: messages of one topic and key reach Kafka in order.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.0.key = Some(key.into());
        self
    }

    /// The key of the message in hand, if it has one.
    pub fn key_of(mut self, message: Message<'_>) -> Self {
        self.0.key = message.key().map(<[u8]>::to_vec);
        self
    }

    /// The record's value.
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.0.payload = Some(payload.into());
        self
    }

    /// Sets the type of the payload, for example `application/json`.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.0.content_type = Some(content_type.into());
        self
    }

    /// One more header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.0.headers.push(Header { name: HeaderName::Text(name.into()), value: Some(value.into()) });
        self
    }

    /// The version of the payload's schema.
    pub fn schema_version(mut self, version: impl Into<String>) -> Self {
        self.0.schema_version = Some(version.into());
        self
    }

    /// A key already used, by whatever message, gives the first id and emits nothing.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.0.idempotency_key = Some(key.into());
        self
    }

    /// Delays the publishing by this much, at most 365 days.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.0.delay = Some(delay);
        self
    }
}
