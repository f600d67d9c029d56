//! What a handler takes, as it says itself or as its manifest says for it.

use crate::config::{Form, Manifest};
use crate::handler::bindings::mailroom::contract::types;

/// One subscription; an empty list means any. The topics are never empty.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Subscription {
    /// Kafka topics.
    pub(crate) topics: Vec<String>,
    /// Event types by segments: `*` is one, a last `**` is the rest.
    pub(crate) event_types: Vec<String>,
    /// Senders, by the same rule.
    pub(crate) sources: Vec<String>,
    /// Prefixes of versions by segments: `1` takes `1.2.3`.
    pub(crate) schema_versions: Vec<String>,
    /// The form of the payload.
    pub(crate) form: Form,
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
