//! Message and state that an author gives a call, each a JSON file.
//!
//! Bytes are written as text, as `{"text": …}` or as `{"base64": …}`. Where handlers keep JSON (payloads,
//! state), any other JSON stands for its text.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::there;
use crate::cli::failure::Failure;
use crate::config::Form;
use crate::handler::{Checked, Subscription};
use crate::ingest::matching;
use crate::message::{Header, HeaderName, Message};
use crate::settle::Scope;

const BYTES: &str = "must be text, {\"text\": …} or {\"base64\": …}";
const KEYS: [&str; 18] = [
    "attempt",
    "causation-id",
    "content-type",
    "correlation-id",
    "delivery",
    "event-type",
    "headers",
    "id",
    "key",
    "max-attempts",
    "message-id",
    "payload",
    "position.offset",
    "position.partition",
    "position.topic",
    "produced-at-ms",
    "schema-version",
    "source",
];

/// A message, and how the handler takes it.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) message: Message,
    /// Form that the subscription which takes it asks for.
    pub(super) form: Form,
    /// True if a subscription takes it: a host would have left the message out otherwise.
    pub(super) taken: bool,
}

/// Values of a state by scope and name.
pub(super) type Values = Vec<((Scope, String), Vec<u8>)>;

/// Reads a message. What is left out is such that the handler's first subscription takes it.
pub(super) fn message(mut fields: Fields, of: &Checked) -> Result<Given, Failure> {
    let source = fields.source.clone();
    let message = fields.message(of);
    fields.finish(&KEYS.join(", "))?;
    let subscription = matching::first(of.component.subscriptions(), &message);
    let taken = subscription.is_some();
    let form =
        subscription.or_else(|| of.component.subscriptions().first()).map_or(Form::Binary, |of| of.form);
    let text = message.payload.as_deref().is_none_or(|payload| std::str::from_utf8(payload).is_ok());
    if form == Form::Text && !text {
        let quarantined =
            "payload: is not UTF-8, and the handler takes text: a host quarantines such a message";
        return Err(Failure::Usage(format!("{source}: {quarantined}")));
    }
    Ok(Given { message, form, taken })
}

/// Reads `{"keyed": {NAME: VALUE}, "shared": {NAME: VALUE}}`.
pub(super) fn state(mut fields: Fields) -> Result<Values, Failure> {
    let mut values = Values::new();
    for scope in [Scope::Keyed, Scope::Shared] {
        for (name, value) in fields.object(scope.as_str(), "must be an object of names and values") {
            let key = format!("{}.{name}", scope.as_str());
            let value = json_or_bytes(&value);
            if let Some(value) = fields.right(&key, value, "must be a value, not null") {
                values.push(((scope, name), value));
            }
        }
    }
    fields.finish("keyed, shared")?;
    Ok(values)
}

/// The keys of a JSON object that were not read yet, and what was wrong with those that were.
pub(super) struct Fields {
    /// The file, and the place in it, for what is wrong.
    source: String,
    left: Map<String, Value>,
    wrong: Vec<String>,
}

impl Fields {
    /// Reads a file that holds an object.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        there(path)?;
        let source = path.display().to_string();
        let wrong = |why: String| Failure::Usage(format!("{source}: {why}"));
        let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let value = serde_json::from_slice(&text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
        Self::of(source, value)
    }

    /// Takes an object that is part of a file.
    pub(super) fn of(source: String, value: Value) -> Result<Self, Failure> {
        match value {
            Value::Object(left) => Ok(Self { source, left: flat(left), wrong: Vec::new() }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(Failure::Usage(format!("{source}: must be a JSON object")))
            }
        }
    }

    /// Ends the reading: all that is wrong, at once, and keys that are none of `keys`.
    pub(super) fn finish(mut self, keys: &str) -> Result<(), Failure> {
        let unknown = self.left.keys().map(|key| format!("{key}: unknown key; there are {keys}"));
        self.wrong.extend(unknown);
        let lines: Vec<String> = self.wrong.iter().map(|line| format!("{}: {line}", self.source)).collect();
        if lines.is_empty() { Ok(()) } else { Err(Failure::Usage(lines.join("\n"))) }
    }

    /// `None` with a line on what is wanted, where it is not that.
    pub(super) fn right<T>(&mut self, key: &str, value: Option<T>, wanted: &str) -> Option<T> {
        if value.is_none() {
            self.wrong.push(format!("{key}: {wanted}"));
        }
        value
    }

    /// Null is as if absent.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.left.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let value = self.take(key)?;
        self.right(key, value.as_str().map(str::to_owned), "must be text")
    }

    pub(super) fn number<T: TryFrom<i64>>(&mut self, key: &str, wanted: &str) -> Option<T> {
        let value = self.take(key)?;
        let number = value.as_i64().and_then(|number| T::try_from(number).ok());
        self.right(key, number, wanted)
    }

    /// Reads a number that is counted from 1.
    fn count(&mut self, key: &str) -> Option<u32> {
        let wanted = "must be a whole number from 1";
        let count: u32 = self.number(key, wanted)?;
        self.right(key, Some(count).filter(|count| *count > 0), wanted)
    }

    pub(super) fn object(&mut self, key: &str, wanted: &str) -> Map<String, Value> {
        let Some(value) = self.take(key) else { return Map::new() };
        self.right(key, value.as_object().cloned(), wanted).unwrap_or_default()
    }

    fn message(&mut self, of: &Checked) -> Message {
        let first = of.component.subscriptions().first();
        let topic = self.text("position.topic").or_else(|| Some(first?.topics.first()?.clone()));
        let topic = topic.unwrap_or_default();
        let key = self.take("key");
        let key = key.and_then(|key| self.right("key", bytes(&key), BYTES));
        let id = self.text("id");
        let id = id.and_then(|id| self.right("id", Uuid::try_parse(&id).ok(), "must be a UUID"));
        let attempt = self.count("attempt").unwrap_or(1);
        let usual = |items: fn(&Subscription) -> &[String]| {
            first.and_then(|first| items(first).iter().find(|item| !item.contains('*')).cloned())
        };
        Message {
            seq: 0,
            lane: 0,
            okey: None,
            // The same on each call, and so are the ids of what is emitted.
            id: id.unwrap_or_else(|| Uuid::from_u128(0x7000_8000_0000_0000_0001)),
            message_id: self.text("message-id").unwrap_or_else(|| format!("{topic}:0:0")),
            consumer_group: of.group.as_str().into(),
            partition: self.number("position.partition", "must be a whole number").unwrap_or(0),
            offset: self.number("position.offset", "must be a whole number").unwrap_or(0),
            source: self.text("source").or_else(|| usual(|of| &of.sources)).unwrap_or_else(|| topic.clone()),
            event_type: self
                .text("event-type")
                .or_else(|| usual(|of| &of.event_types))
                .unwrap_or_else(|| topic.clone()),
            schema_version: self.text("schema-version").or_else(|| usual(|of| &of.schema_versions)),
            topic: topic.into(),
            key,
            payload: self.payload(),
            content_type: self.text("content-type"),
            headers: self.headers(),
            produced_at_ms: self.number("produced-at-ms", "must be a whole number").unwrap_or(0),
            trace_id: None,
            traceparent: self.text("traceparent"),
            correlation_id: self.text("correlation-id"),
            causation_id: self.text("causation-id"),
            idempotency_key: None,
            attempts_made: attempt - 1,
            attempts_max: self.count("max-attempts").unwrap_or(of.component.manifest().retry.attempts_max),
            deliveries: self.count("delivery").unwrap_or(attempt) - 1,
            crashes: 0,
            begun: false,
        }
    }

    fn payload(&mut self) -> Option<Vec<u8>> {
        const WANTED: &str =
            "must be text, {\"text\": …}, {\"base64\": …} or other JSON, which is sent as text";
        match self.left.remove("payload") {
            None => self.right("payload", None, &format!("is missing: it {WANTED}; null is a tombstone")),
            Some(Value::Null) => None,
            Some(payload) => self.right("payload", json_or_bytes(&payload), WANTED),
        }
    }

    /// An object where no name repeats, or a list in which each is `[NAME, VALUE]` or an object of both.
    fn headers(&mut self) -> Vec<Header> {
        const WANTED: &str = "must be an object of names and values, or a list of [name, value]; a value is text, {\"base64\": …} or null";
        let Some(given) = self.take("headers") else { return Vec::new() };
        let pairs: Option<Vec<Header>> = match (given.as_object(), given.as_array()) {
            (Some(headers), _) => headers.iter().map(|(name, value)| header(name, value)).collect(),
            (_, Some(headers)) => headers.iter().map(listed).collect(),
            (None, None) => None,
        };
        self.right("headers", pairs, WANTED).unwrap_or_default()
    }
}

/// `{"position": {"topic": …}}` as `position.topic`, and dashes where others write underscores.
fn flat(object: Map<String, Value>) -> Map<String, Value> {
    let mut flat = Map::new();
    for (key, value) in object {
        match (key.as_str(), value) {
            ("position", Value::Object(inner)) => {
                flat.extend(inner.into_iter().map(|(key, value)| (format!("position.{key}"), value)));
            }
            (_, value) => {
                flat.insert(key.replace('_', "-"), value);
            }
        }
    }
    flat
}

fn listed(entry: &Value) -> Option<Header> {
    if let Some(both) = entry.as_object() {
        return header(both.get("name")?.as_str()?, both.get("value").unwrap_or(&Value::Null));
    }
    let [name, value] = entry.as_array()?.as_slice() else { return None };
    header(name.as_str()?, value)
}

fn header(name: &str, value: &Value) -> Option<Header> {
    let value = if value.is_null() { None } else { Some(bytes(value)?) };
    Some(Header { name: HeaderName::Text(name.to_owned()), value })
}

pub(super) fn json_or_bytes(value: &Value) -> Option<Vec<u8>> {
    let says = |form: &str| value.as_object().is_some_and(|map| map.len() == 1 && map.contains_key(form));
    if value.is_null() {
        return None;
    }
    if value.is_string() || says("text") || says("base64") {
        bytes(value)
    } else {
        Some(value.to_string().into_bytes())
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    if let Some(text) = value.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let mut entries = value.as_object()?.iter();
    match (entries.next()?, entries.next()) {
        ((form, Value::String(text)), None) if form == "text" => Some(text.as_bytes().to_vec()),
        ((form, Value::String(text)), None) if form == "base64" => BASE64.decode(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_are_text_or_say_their_form() {
        assert_eq!(bytes(&json!("a")), Some(b"a".to_vec()));
        assert_eq!(bytes(&json!({"text": "a"})), Some(b"a".to_vec()));
        assert_eq!(bytes(&json!({"base64": "/w=="})), Some(vec![0xff]));
        for wrong in
            [json!(1), json!({"base64": "?"}), json!({"text": 1}), json!({}), json!({"text": "a", "b": 1})]
        {
            assert_eq!(bytes(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn other_json_is_its_text() {
        assert_eq!(json_or_bytes(&json!({"order_id": "o"})), Some(br#"{"order_id":"o"}"#.to_vec()));
        assert_eq!(json_or_bytes(&json!({"text": "a", "n": 1})), Some(br#"{"n":1,"text":"a"}"#.to_vec()));
        assert_eq!(json_or_bytes(&json!(5)), Some(b"5".to_vec()));
        assert_eq!(json_or_bytes(&json!({"text": "a"})), Some(b"a".to_vec()));
        assert_eq!(json_or_bytes(&json!({"base64": "?"})), None, "a form that is wrong is no payload");
    }

    #[test]
    fn headers_are_an_object_or_a_list() {
        let of = |headers: Value| {
            let left = Map::from_iter([("headers".to_owned(), headers)]);
            let mut fields = Fields { source: String::new(), left, wrong: Vec::new() };
            let headers = fields.headers();
            fields.wrong.is_empty().then_some(headers)
        };
        let one = vec![Header::text("a", "b")];
        for same in [json!({"a": "b"}), json!([["a", "b"]]), json!([{"name": "a", "value": {"text": "b"}}])] {
            assert_eq!(of(same.clone()).as_ref(), Some(&one), "{same}");
        }
        assert_eq!(of(json!([["a", null]])).unwrap()[0].value, None);
        for wrong in [json!("a"), json!([["a"]]), json!({"a": 1}), json!([{"value": "b"}])] {
            assert_eq!(of(wrong.clone()), None, "{wrong}");
        }
    }
}
