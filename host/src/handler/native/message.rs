//! One delivery as a native handler sees it: nothing is copied.

use uuid::Uuid;

use crate::message::{HeaderName, Message as Row};

/// One delivery of a message. All but [`attempt`](Self::attempt) and [`delivery`](Self::delivery) is the same
/// on every delivery.
#[derive(Debug, Clone, Copy)]
pub struct Message<'m>(&'m Row);

impl<'m> Message<'m> {
    pub(super) fn new(row: &'m Row) -> Self {
        Self(row)
    }

    /// The inbox row; the same across retries and replay.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.0.id
    }

    /// The producer's id, unique within the consumer group, the topic and the source; the record's place in the log
    /// where it gave none.
    #[must_use]
    pub fn message_id(&self) -> &'m str {
        &self.0.message_id
    }

    /// Returns the type of the event, for example `order.placed`.
    #[must_use]
    pub fn event_type(&self) -> &'m str {
        &self.0.event_type
    }

    /// The logical sender: the `source` header, else the topic.
    #[must_use]
    pub fn source(&self) -> &'m str {
        &self.0.source
    }

    /// The version of the payload's schema, as the producer says it.
    #[must_use]
    pub fn schema_version(&self) -> Option<&'m str> {
        self.0.schema_version.as_deref()
    }

    /// The Kafka topic it came from.
    #[must_use]
    pub fn topic(&self) -> &'m str {
        &self.0.topic
    }

    /// The partition of that topic.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    /// The offset in that partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    /// The record's key; without one there is no order and no keyed state.
    #[must_use]
    pub fn key(&self) -> Option<&'m [u8]> {
        self.0.key.as_deref()
    }

    /// The record's value; `None` is a tombstone.
    #[must_use]
    pub fn payload(&self) -> Option<&'m [u8]> {
        self.0.payload.as_deref()
    }

    /// The `content-type` header.
    #[must_use]
    pub fn content_type(&self) -> Option<&'m str> {
        self.0.content_type.as_deref()
    }

    /// All headers in their order; names may repeat, values may be null.
    pub fn headers(&self) -> impl Iterator<Item = (&'m str, Option<&'m [u8]>)> {
        self.0.headers.iter().filter_map(|header| match &header.name {
            HeaderName::Text(name) => Some((name.as_str(), header.value.as_deref())),
            // A record with such a name is quarantined.
            HeaderName::Bytes(_) => None,
        })
    }

    /// The value of the last header with this name, as Kafka's own clients choose among repeated ones.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'m [u8]> {
        self.0.headers.iter().rev().find(|header| header.is(name))?.value.as_deref()
    }

    /// The record's time in milliseconds since 1970.
    #[must_use]
    pub fn produced_at_ms(&self) -> i64 {
        self.0.produced_at_ms
    }

    /// Returns the business conversation to which it belongs, if it names one.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&'m str> {
        self.0.correlation_id.as_deref()
    }

    /// The message that caused this one.
    #[must_use]
    pub fn causation_id(&self) -> Option<&'m str> {
        self.0.causation_id.as_deref()
    }

    /// W3C trace context.
    #[must_use]
    pub fn traceparent(&self) -> Option<&'m str> {
        self.0.traceparent.as_deref()
    }

    /// Returns the number of this attempt, from 1. Only calls whose end counted raise it.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempts_made.saturating_add(1)
    }

    /// Attempts that it has.
    #[must_use]
    pub fn attempts_max(&self) -> u32 {
        self.0.attempts_max
    }

    /// Returns the number of this delivery, from 1. Every start raises it, those that a dead host never
    /// settled too.
    #[must_use]
    pub fn delivery(&self) -> u32 {
        self.0.deliveries.saturating_add(1)
    }
}
