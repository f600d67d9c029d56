//! What a handler takes, as it says itself or as its manifest says for it.

use crate::config::{Form, Manifest};
use crate::handler::bindings::mailroom::contract::types;

/// Which messages a handler takes; an empty list means any, but of topics, of which there is one at least.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Subscription {
    /// Kafka topics.
    pub topics: Vec<String>,
    /// Event types by segments: `*` is one, a last `**` is the rest.
    pub event_types: Vec<String>,
    /// Senders, by the same rule.
    pub sources: Vec<String>,
    /// Prefixes of versions by segments: `1` takes `1.2.3`.
    pub schema_versions: Vec<String>,
    /// The form of the payload.
    pub form: Form,
}

impl Subscription {
    /// All messages of a topic, their payloads as they are. Each kind of filter narrows what is taken;
    /// repeating a kind widens it again.
    #[must_use]
    pub fn topic(topic: impl Into<String>) -> Self {
        Self {
            topics: vec![topic.into()],
            event_types: Vec::new(),
            sources: Vec::new(),
            schema_versions: Vec::new(),
            form: Form::Binary,
        }
    }

    /// Also this topic.
    #[must_use]
    pub fn or_topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// Only this event type. `order.*` takes one more segment, `order.**` all that follow.
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

    /// Payloads are text: one that is not UTF-8 is quarantined before the handler is called.
    #[must_use]
    pub fn text(mut self) -> Self {
        self.form = Form::Text;
        self
    }
}

impl From<types::Subscription> for Subscription {
    fn from(said: types::Subscription) -> Self {
        Self {
            topics: said.topics,
            event_types: said.event_types,
            sources: said.sources,
            schema_versions: said.schema_versions,
            form: match said.form {
                types::Form::Text => Form::Text,
                types::Form::Binary => Form::Binary,
            },
        }
    }
}

/// What holds: the manifest's word where it has one, else the component's own.
pub(super) fn effective(declared: &[Subscription], manifest: &Manifest) -> Vec<Subscription> {
    match &manifest.subscribe {
        None => declared.to_vec(),
        Some(said) => vec![Subscription {
            topics: said.topics.clone(),
            event_types: said.event_types.clone(),
            sources: said.sources.clone(),
            schema_versions: said.schema_versions.clone(),
            form: said.form,
        }],
    }
}

/// Whether each names a topic: "any topic" is not a thing one can subscribe to.
pub(super) fn name_topics(subscriptions: &[Subscription]) -> bool {
    !subscriptions.is_empty() && subscriptions.iter().all(|subscription| !subscription.topics.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_to_any_topic_is_none() {
        let to = |topics: &[&str]| Subscription {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            event_types: Vec::new(),
            sources: Vec::new(),
            schema_versions: Vec::new(),
            form: Form::Text,
        };
        assert!(name_topics(&[to(&["a"])]));
        assert!(!name_topics(&[]));
        assert!(!name_topics(&[to(&["a"]), to(&[])]));
    }
}
