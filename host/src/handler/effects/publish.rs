//! Emitting: a message is checked as the relay would check it, so that its author hears of it and not an
//! operator.

use uuid::Uuid;

use super::{Asked, Effects, Phase, length, refused, waited};
use crate::config::is_topic;
use crate::handler::reply::DELAY_MAX;
use crate::message::{Header, Outgoing, emitted_id};

const EVENT_TYPE_CHARS_MAX: usize = 100;
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 128;
/// Most headers of a message: as many as `mailroom.publish` takes.
const HEADERS_MAX: usize = 100;
/// Cost of a header to the host beside its name and value, in bytes.
const HEADER_BYTES: usize = 48;

/// Reason why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The manifest does not grant the topic; names the line to add.
    #[error("{0}")]
    NotGranted(String),
    /// All effects of the call would be larger than so many bytes.
    #[error("the call's effects may have {0} bytes in all")]
    TooLarge(u64),
    /// The call has as many effects as it may.
    #[error("a call may have {0} effects")]
    TooMany(u32),
    /// The message itself is wrong, in the way that the text says.
    #[error("{0}")]
    Invalid(String),
    /// Postgres is away. The call does not count, whatever it ends with.
    #[error("{0}")]
    Unavailable(String),
}

impl Effects {
    /// Buffers the message and gives its id. A key already used gives the first id and emits nothing.
    pub(in crate::handler) async fn publish(&mut self, message: Outgoing) -> Result<Uuid, PublishError> {
        let Some(topic) = self.journal.is_some().then(|| message.topic.clone()) else {
            return self.take(message).await;
        };
        let place = self.outgoing.len();
        let taken = self.take(message).await;
        let asked = match (&taken, self.outgoing.get(place)) {
            (Ok(_), Some(taken)) => Asked::Published(Box::new(taken.clone())),
            (Ok(_), None) => Asked::Repeated { topic },
            (Err(error), _) => {
                let grant = matches!(error, PublishError::NotGranted(_)).then_some("grants.publish");
                refused(format!("publish to {topic}"), grant, error)
            }
        };
        self.note(|| asked);
        taken
    }

    async fn take(&mut self, message: Outgoing) -> Result<Uuid, PublishError> {
        if self.phase == Phase::Subscribing {
            let why = "subscriptions() has no effects; publish in handle()".to_owned();
            return Err(PublishError::NotGranted(why));
        }
        let message = self.checked(message)?;
        if let Some(key) = &message.idempotency_key {
            let used = self.outgoing.iter().find(|earlier| earlier.idempotency_key.as_ref() == Some(key));
            let first = match used {
                Some(earlier) => Some(earlier.id),
                None => {
                    let first = waited(self.deadline, self.state.first_with_key(key)).await;
                    let first = first.map_err(PublishError::Unavailable)?;
                    first.map_err(|error| PublishError::Unavailable(error.to_string()))?
                }
            };
            if let Some(first) = first {
                return Ok(first);
            }
        }
        // A key that was used emits nothing, and so needs no room.
        if self.is_full() {
            return Err(PublishError::TooMany(self.manifest.limits.effects));
        }
        let Some(bytes) = self.bytes_with(length(size(&message)), 0) else {
            return Err(PublishError::TooLarge(self.manifest.limits.output_bytes));
        };
        let id = message.id;
        self.bytes = bytes;
        self.outgoing.push(message);
        Ok(id)
    }

    fn checked(&mut self, message: Outgoing) -> Result<Outgoing, PublishError> {
        let message = self.valid(message).map_err(PublishError::Invalid)?;
        let topic = &message.topic;
        if !self.manifest.grants.publish.contains(topic) {
            let why = format!(
                "the handler may not publish to {topic}; add it to its manifest: grants.publish = [\"{topic}\"]"
            );
            return Err(PublishError::NotGranted(why));
        }
        Ok(message)
    }

    /// Checks a message, and gives it the id that its place in the call has.
    fn valid(&self, message: Outgoing) -> Result<Outgoing, String> {
        if !is_topic(&message.topic) {
            let allowed = "1 to 249 of letters, digits, \".\", \"_\" and \"-\", not \".\" or \"..\"";
            return Err(format!("topic {:?} is not a Kafka topic's name: {allowed}", message.topic));
        }
        if message.headers.len() > HEADERS_MAX {
            let count = message.headers.len();
            return Err(format!("it has {count} headers, at most {HEADERS_MAX} are allowed"));
        }
        if message.headers.iter().any(|header| header.is("")) {
            return Err("a header has an empty name".to_owned());
        }
        if message.headers.iter().any(is_bearer_token) {
            return Err("header authorization holds a bearer token, which must not be stored".to_owned());
        }
        if message.delay.is_some_and(|delay| delay > DELAY_MAX) {
            return Err("delay-ms is more than 365 days".to_owned());
        }
        let key = message.idempotency_key;
        Ok(Outgoing {
            id: emitted_id(self.message, self.outgoing.len()),
            event_type: trimmed("event-type", &message.event_type, EVENT_TYPE_CHARS_MAX)?,
            idempotency_key: key
                .map(|key| trimmed("idempotency-key", &key, IDEMPOTENCY_KEY_CHARS_MAX))
                .transpose()?,
            content_type: without_nul("content-type", message.content_type)?,
            schema_version: without_nul("schema-version", message.schema_version)?,
            ..message
        })
    }
}

/// Tells whether a header carries a bearer token, by the same rule as `mailroom.publish`.
fn is_bearer_token(header: &Header) -> bool {
    let value = header.value.as_deref().unwrap_or_default().trim_ascii_start();
    let scheme = value.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    header.name.to_string().trim().eq_ignore_ascii_case("authorization")
        && scheme.eq_ignore_ascii_case(b"bearer")
        && scheme.len() < value.len()
}

fn trimmed(field: &str, text: &str, chars_max: usize) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(format!("{field} is blank")),
        chars if chars > chars_max => {
            Err(format!("{field} has {chars} characters, at most {chars_max} are allowed"))
        }
        _ if text.contains('\0') => Err(format!("{field} has U+0000 in it")),
        _ => Ok(text.to_owned()),
    }
}

/// Postgres' text cannot hold it.
fn without_nul(field: &str, text: Option<String>) -> Result<Option<String>, String> {
    match text {
        Some(text) if text.contains('\0') => Err(format!("{field} has U+0000 in it")),
        text => Ok(text),
    }
}

/// Returns what it adds to the call's output, in bytes.
fn size(message: &Outgoing) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let data = |data: &Option<Vec<u8>>| data.as_ref().map_or(0, Vec::len);
    let headers =
        message.headers.iter().map(|header| HEADER_BYTES + header.name.size() + data(&header.value));
    message.topic.len()
        + message.event_type.len()
        + text(&message.content_type)
        + text(&message.schema_version)
        + text(&message.idempotency_key)
        + data(&message.key)
        + data(&message.payload)
        + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;
    use uuid::Uuid;

    use super::*;
    use crate::config::{Config, Manifest, Servers};
    use crate::message::HeaderName;
    use crate::settle::StateView;

    fn effects(manifest: &str) -> Effects {
        let config = Config::load_with(None, std::iter::empty(), Servers::Unneeded).unwrap().0;
        let manifest = Arc::new(Manifest::parse(manifest, &config).unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        Effects::new(manifest, Uuid::now_v7(), deadline, StateView::new(None, "g".into(), None))
    }

    fn outgoing(topic: &str) -> Outgoing {
        Outgoing {
            id: Uuid::nil(),
            topic: topic.to_owned(),
            event_type: " placed ".to_owned(),
            key: None,
            payload: Some(b"{}".to_vec()),
            content_type: None,
            headers: Vec::new(),
            schema_version: None,
            idempotency_key: None,
            delay: None,
        }
    }

    #[tokio::test]
    async fn a_denial_names_the_line_to_add() {
        let denied = effects("").publish(outgoing("out")).await;
        let Err(PublishError::NotGranted(why)) = denied else { panic!("{denied:?}") };
        assert!(why.contains(r#"grants.publish = ["out"]"#), "{why}");
    }

    #[tokio::test]
    async fn what_the_relay_could_not_publish_is_invalid() {
        let nul = || Some("a\0b".to_owned());
        let nameless = Header { name: HeaderName::Text(String::new()), value: None };
        let many = vec![Header::text("h", ""); 101];
        let token = Header::text("Authorization", "bEARER\ts3cret");
        for (message, named) in [
            (outgoing("no topic"), "topic"),
            (outgoing(".."), "topic"),
            (outgoing(&"x".repeat(250)), "topic"),
            (Outgoing { event_type: "  ".to_owned(), ..outgoing("out") }, "event-type"),
            (Outgoing { event_type: "x".repeat(101), ..outgoing("out") }, "event-type"),
            (Outgoing { content_type: nul(), ..outgoing("out") }, "content-type"),
            (Outgoing { schema_version: nul(), ..outgoing("out") }, "schema-version"),
            (Outgoing { idempotency_key: nul(), ..outgoing("out") }, "idempotency-key"),
            (Outgoing { headers: vec![nameless], ..outgoing("out") }, "header"),
            (Outgoing { headers: many, ..outgoing("out") }, "101 headers"),
            (Outgoing { headers: vec![token], ..outgoing("out") }, "bearer token"),
            (Outgoing { delay: Some(Duration::MAX), ..outgoing("out") }, "delay-ms"),
        ] {
            let mut effects = effects("[grants]\npublish = [\"out\"]");
            let refused = effects.publish(message).await;
            let Err(PublishError::Invalid(why)) = refused else { panic!("{named}: {refused:?}") };
            assert!(why.contains(named), "{named}: {why}");
            assert!(effects.keep().0.is_empty());
        }
    }

    #[tokio::test]
    async fn headers_cost_even_where_they_are_empty_and_other_schemes_are_stored() {
        let mut effects = effects("[grants]\npublish = [\"out\"]\n[limits]\noutput-bytes = 5000");
        let headers = vec![Header::text("h", ""); 100];
        let full = Outgoing { headers, ..outgoing("out") };
        effects.publish(full.clone()).await.unwrap();
        assert_eq!(effects.publish(full).await, Err(PublishError::TooLarge(5000)));
        assert!(effects.refused().unwrap().contains("limits.output-bytes = 5000"));
        let mut roomy = super::tests::effects("[grants]\npublish = [\"out\"]");
        let headers =
            vec![Header::text("authorization", "Basic eA=="), Header::text("authorization", "bearer")];
        roomy.publish(Outgoing { headers, ..outgoing("out") }).await.unwrap();
    }

    #[tokio::test]
    async fn a_key_used_twice_in_one_call_emits_once() {
        let mut effects = effects("[grants]\npublish = [\"out\"]");
        let keyed = || Outgoing { idempotency_key: Some("once".to_owned()), ..outgoing("out") };
        let first = effects.publish(keyed()).await.unwrap();
        let second = effects.publish(keyed()).await.unwrap();
        assert_eq!(first, second);
        let (emitted, ..) = effects.keep();
        assert_eq!((emitted.len(), emitted[0].event_type.as_str()), (1, "placed"));
    }

    #[tokio::test]
    async fn a_used_key_is_answered_though_no_more_may_be_emitted() {
        let mut effects = effects("[grants]\npublish = [\"out\"]\n[limits]\neffects = 1");
        let keyed = || Outgoing { idempotency_key: Some("once".to_owned()), ..outgoing("out") };
        let first = effects.publish(keyed()).await.unwrap();
        assert_eq!(effects.publish(keyed()).await, Ok(first));
        assert_eq!(effects.refused(), None);
        assert_eq!(effects.publish(outgoing("out")).await, Err(PublishError::TooMany(1)));
    }
}
