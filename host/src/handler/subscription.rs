//! Subscriptions of a handler, as it says itself or as its manifest says for it.

use crate::config::{Form, Manifest, is_pattern, is_topic};
use crate::handler::bindings::mailroom::contract::types;

/// Names and patterns that a handler may declare in all: each is held, written and compared, and each topic is
/// asked for at the start.
const DECLARED_MAX: usize = 1000;

/// Filter of the messages that a handler takes; an empty list means any, but of topics, of which there is one
/// at least.
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

    /// Adds a topic to those that are taken.
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

/// Returns what holds: the manifest's word where it has one, else the component's own.
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

/// Tells whether each names a topic: "any topic" is not a thing one can subscribe to.
pub(super) fn name_topics(subscriptions: &[Subscription]) -> bool {
    !subscriptions.is_empty() && subscriptions.iter().all(|subscription| !subscription.topics.is_empty())
}

/// Returns why this is more than a handler may declare.
pub(super) fn too_many(declared: &[Subscription]) -> Option<String> {
    let names = |of: &Subscription| {
        1 + of.topics.len() + of.event_types.len() + of.sources.len() + of.schema_versions.len()
    };
    let count: usize = declared.iter().map(names).sum();
    (count > DECLARED_MAX)
        .then(|| format!("has {count} subscriptions, names and patterns, at most {DECLARED_MAX} are allowed"))
}

/// Returns why nobody can subscribe so. The client of Kafka takes a name that begins with `^` for a pattern
/// over all topics, and an empty one for an error of the host's.
pub(super) fn unfit(subscriptions: &[Subscription]) -> Option<String> {
    let shown = |name: &str| name.chars().take(80).collect::<String>();
    subscriptions.iter().find_map(|of| {
        if let Some(topic) = of.topics.iter().find(|topic| !is_topic(topic)) {
            return Some(format!("names the topic {:?}, which is none that Kafka can have", shown(topic)));
        }
        let patterns = of.event_types.iter().chain(&of.sources).chain(&of.schema_versions);
        let nonsense = |pattern: &&String| !is_pattern(pattern) || pattern.chars().any(char::is_control);
        let pattern = patterns.into_iter().find(nonsense)?;
        Some(format!("has {:?}, which is no pattern such as \"order.*\"", shown(pattern)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(topics: &[&str]) -> Subscription {
        Subscription {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            event_types: Vec::new(),
            sources: Vec::new(),
            schema_versions: Vec::new(),
            form: Form::Text,
        }
    }

    #[test]
    fn a_subscription_to_any_topic_is_none() {
        assert!(name_topics(&[to(&["a"])]));
        assert!(!name_topics(&[]));
        assert!(!name_topics(&[to(&["a"]), to(&[])]));
    }

    #[test]
    fn what_kafka_cannot_have_is_named() {
        for topic in ["", "^.*", "a\0b", "no topic", ".."] {
            let why = unfit(&[to(&["good"]), to(&["good", topic])]);
            assert!(why.is_some_and(|why| why.contains(&format!("{topic:?}"))), "{topic:?}");
        }
        for pattern in ["", " a", "a\0b"] {
            let why = unfit(&[to(&["good"]).event_type("order.*").source(pattern)]);
            assert!(why.is_some_and(|why| why.contains(&format!("{pattern:?}"))), "{pattern:?}");
        }
        assert_eq!(unfit(&[to(&["a.b_C-9"]).event_type("order.**").schema_version("1")]), None);
    }

    #[test]
    fn what_is_declared_is_bounded() {
        let many = |topics: usize| to(&vec!["a"; topics]);
        assert_eq!(too_many(&[many(999)]), None);
        assert!(too_many(&[many(1000)]).is_some_and(|why| why.contains("1001")));
        assert!(too_many(&vec![many(0); 1001]).is_some(), "empty ones count too");
    }
}
