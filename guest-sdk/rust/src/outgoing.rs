//! Messages that a handler emits.
//!
//! [`Outgoing::publish`] only hands the message to the host, which buffers it: it is committed with
//! the call, and dropped where the call does not complete.

use std::time::Duration;

use serde::Serialize;

use crate::bindings::mailroom::contract::outbox;
use crate::host;
use crate::stop::milliseconds;
use crate::{Data, Header, Message};

/// A message to publish. Correlation, causation and trace are set by the host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "nothing is emitted until `publish` is called"]
pub struct Outgoing(pub(crate) outbox::Outgoing);

impl Outgoing {
    /// A message whose payload is `value` as JSON.
    ///
    /// # Errors
    /// Where `value` cannot be written as JSON, for example a map with keys that are not text.
    pub fn json<T: Serialize + ?Sized>(
        topic: impl Into<String>,
        event_type: impl Into<String>,
        value: &T,
    ) -> Result<Self, serde_json::Error> {
        let mut message = Self::raw(topic, event_type, serde_json::to_string(value)?);
        message.0.content_type = Some("application/json".to_owned());
        Ok(message)
    }

    /// A message with this payload as it is, text or bytes.
    pub fn raw(topic: impl Into<String>, event_type: impl Into<String>, payload: impl Into<Data>) -> Self {
        let mut message = Self::tombstone(topic, event_type);
        message.0.payload = Some(payload.into());
        message
    }

    /// A message without a payload, by which a compacted topic forgets a key.
    pub fn tombstone(topic: impl Into<String>, event_type: impl Into<String>) -> Self {
        Self(outbox::Outgoing {
            topic: topic.into(),
            event_type: event_type.into(),
            key: None,
            payload: None,
            content_type: None,
            headers: Vec::new(),
            schema_version: None,
            idempotency_key: None,
            delay_ms: None,
        })
    }

    /// Messages of one topic and key keep their order; without a key there is none.
    pub fn key(mut self, key: impl Into<Data>) -> Self {
        self.0.key = Some(key.into());
        self
    }

    /// The key of the message being handled, or no key where that has none.
    pub fn key_of(mut self, message: &Message) -> Self {
        self.0.key.clone_from(&message.key);
        self
    }

    /// Adds a header. Names may repeat, and their order is kept.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Data>) -> Self {
        self.0.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }

    /// Adds a header whose value is null, which Kafka tells from an empty one.
    pub fn null_header(mut self, name: impl Into<String>) -> Self {
        self.0.headers.push(Header { name: name.into(), value: None });
        self
    }

    /// Sets the type of the payload, for example `text/csv`; [`Outgoing::json`] sets its own.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.0.content_type = Some(content_type.into());
        self
    }

    /// The version of the payload's schema.
    pub fn schema_version(mut self, version: impl Into<String>) -> Self {
        self.0.schema_version = Some(version.into());
        self
    }

    /// Emits at most once for this key: a key already used gives the first message's id.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.0.idempotency_key = Some(key.into());
        self
    }

    /// Delays the publishing until this time has passed, counted from the commit.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.0.delay_ms = Some(milliseconds(delay));
        self
    }

    /// Emits the message and returns its id, which is the same on every delivery of the message
    /// being handled.
    ///
    /// # Errors
    /// Where the manifest does not grant the topic or the host cannot take the message. Nothing was
    /// emitted then, and the call may go on.
    pub fn publish(self) -> Result<String, PublishError> {
        let topic = self.0.topic.clone();
        host::publish(&self.0).map_err(|error| PublishError::of(error, topic))
    }
}

/// Reason why the host did not take a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The manifest does not grant the topic.
    #[error(
        "this handler may not publish to `{topic}`: add it to `publish` under `[grants]` in its manifest"
    )]
    NotGranted {
        /// Topic of the message.
        topic: String,
    },
    /// The message is larger than the topic or the host allows.
    #[error("the message for `{topic}` is larger than the {limit} bytes that are allowed")]
    TooLarge {
        /// Topic of the message.
        topic: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The call has emitted as many messages as it may.
    #[error("the message for `{topic}` is one more than the {limit} that a call may emit")]
    TooMany {
        /// Topic of the message.
        topic: String,
        /// Number of messages that a call may emit.
        limit: u32,
    },
    /// Something in the message cannot be published.
    #[error("the message for `{topic}` cannot be published: {reason}")]
    Invalid {
        /// Topic of the message.
        topic: String,
        /// Description of what is wrong, in the host's words.
        reason: String,
    },
}

impl PublishError {
    fn of(error: outbox::PublishError, topic: String) -> Self {
        match error {
            outbox::PublishError::NotGranted(_) => Self::NotGranted { topic },
            outbox::PublishError::TooLarge(limit) => Self::TooLarge { topic, limit },
            outbox::PublishError::TooMany(limit) => Self::TooMany { topic, limit },
            outbox::PublishError::Invalid(reason) => Self::Invalid { topic, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_the_topic_and_the_grant() {
        let denial = outbox::PublishError::NotGranted("invoices".to_owned());

        assert_eq!(
            PublishError::of(denial, "invoices".to_owned()).to_string(),
            "this handler may not publish to `invoices`: add it to `publish` under `[grants]` in its manifest"
        );
    }

    #[test]
    fn json_says_its_content_type() {
        let message = Outgoing::json("totals", "total.changed", &[1, 2]);
        let Ok(Outgoing(message)) = message else { panic!("a list of numbers is JSON") };

        assert_eq!(message.content_type.as_deref(), Some("application/json"));
        assert_eq!(message.payload, Some(Data::from("[1,2]")));
    }
}
