//! Saying which messages a handler takes.
//!
//! Only a list of patterns is built here; the host matches them.

use crate::{Form, Subscription};

impl Subscription {
    /// All messages of a topic. Each kind of filter narrows what is taken; repeating a kind widens
    /// it again.
    #[must_use]
    pub fn topic(topic: impl Into<String>) -> Self {
        Self {
            topics: vec![topic.into()],
            event_types: Vec::new(),
            sources: Vec::new(),
            schema_versions: Vec::new(),
            form: Form::Text,
        }
    }

    /// Adds a topic to those that are taken.
    #[must_use]
    pub fn or_topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// Only this event type, for example `order.placed`. `order.*` takes one more segment,
    /// `order.**` all that follow.
    #[must_use]
    pub fn event_type(mut self, pattern: impl Into<String>) -> Self {
        self.event_types.push(pattern.into());
        self
    }

    /// Only this source, with the same patterns as event types.
    #[must_use]
    pub fn source(mut self, pattern: impl Into<String>) -> Self {
        self.sources.push(pattern.into());
        self
    }

    /// Only this schema version; `1` takes `1.2.3` too.
    #[must_use]
    pub fn schema_version(mut self, prefix: impl Into<String>) -> Self {
        self.schema_versions.push(prefix.into());
        self
    }

    /// Payloads come as bytes. Without this they come as text, and a payload that is not UTF-8 is
    /// quarantined before the handler is called.
    #[must_use]
    pub fn binary(mut self) -> Self {
        self.form = Form::Binary;
        self
    }
}
