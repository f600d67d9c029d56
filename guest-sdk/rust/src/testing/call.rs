//! Results of a call, for a test to look at.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::bindings::mailroom::contract::outbox;
use crate::http::Request;
use crate::log::Level;
use crate::{Data, Header, Outgoing, Stop};

/// Result of a call, from [`TestHost::call`](super::TestHost::call).
#[derive(Debug)]
pub struct Call {
    /// The answer of the handler.
    pub ending: Result<(), Stop>,
    /// Messages that the call emitted; none unless it completed.
    pub published: Vec<Published>,
    /// Lines of the log of all levels, however the call ended.
    pub lines: Vec<Line>,
    /// HTTP requests, however the call ended.
    pub requests: Vec<SentRequest>,
}

/// A message that a call emitted. It equals the [`Outgoing`] that it was.
#[derive(Debug, Clone)]
pub struct Published {
    /// The id that [`Outgoing::publish`] gave.
    pub id: String,
    /// Topic that it goes to.
    pub topic: String,
    /// Type of the event, for example `order.placed`.
    pub event_type: String,
    /// None: no order.
    pub key: Option<Data>,
    /// None: a tombstone.
    pub payload: Option<Data>,
    /// Media type of the payload.
    pub content_type: Option<String>,
    /// Headers in the order in which they were added.
    pub headers: Vec<Header>,
    /// Version of the payload's schema.
    pub schema_version: Option<String>,
    /// Key under which it is emitted once.
    pub idempotency_key: Option<String>,
    /// Delay from the commit.
    pub delay: Option<Duration>,
}

impl Published {
    pub(super) fn new(id: String, message: &outbox::Outgoing) -> Self {
        let message = message.clone();
        Self {
            id,
            topic: message.topic,
            event_type: message.event_type,
            key: message.key,
            payload: message.payload,
            content_type: message.content_type,
            headers: message.headers,
            schema_version: message.schema_version,
            idempotency_key: message.idempotency_key,
            delay: message.delay_ms.map(Duration::from_millis),
        }
    }

    /// The payload as JSON; a tombstone is none.
    ///
    /// # Errors
    /// Where it is not the JSON that `T` expects.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.payload.as_ref().map_or(&[], Data::as_bytes))
    }
}

impl PartialEq<Outgoing> for Published {
    fn eq(&self, other: &Outgoing) -> bool {
        let Outgoing(other) = other;
        self.topic == other.topic
            && self.event_type == other.event_type
            && self.key == other.key
            && self.payload == other.payload
            && self.content_type == other.content_type
            && self.headers == other.headers
            && self.schema_version == other.schema_version
            && self.idempotency_key == other.idempotency_key
            && self.delay == other.delay_ms.map(Duration::from_millis)
    }
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Level that the handler chose.
    pub level: Level,
    /// Empty where the handler gave none.
    pub context: String,
    /// Words of the line.
    pub text: String,
}

/// An HTTP request that a call sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentRequest {
    /// Method, for example `POST`.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Headers in the order in which they were added.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Empty where there is none.
    pub body: Vec<u8>,
    /// Timeout that the handler set.
    pub timeout: Option<Duration>,
}

impl From<&Request> for SentRequest {
    fn from(request: &Request) -> Self {
        let Request { method, url, headers, body, timeout, .. } = request.clone();
        Self { method, url, headers, body, timeout }
    }
}
