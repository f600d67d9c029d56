//! Observation of what a call did, in the form of a case's `expect`, and where it differs from what was
//! expected.

use serde_json::{Map, Value, json};

use crate::cli::handler::given::json_or_bytes;
use crate::cli::handler::told::{Ending, millis};
use crate::handler::Asked;
use crate::message::{Header, Outgoing};
use crate::pipeline::outcome::{Called, Usage};
use crate::settle::Scope;
use crate::shown::bytes_as_json;

/// Observation of one call.
pub(super) struct Observed {
    /// End and effects of the call.
    pub(super) effects: Map<String, Value>,
    pub(super) usage: Usage,
    /// HTTP requests that were answered.
    pub(super) requests: usize,
}

impl Observed {
    pub(super) fn of(called: &Called, asked: &[Asked]) -> Self {
        let Ending { outcome, cause, retry } = Ending::of(&called.end);
        let log: Vec<String> = asked.iter().filter_map(logged).collect();
        let emitted: Vec<Value> = called.outgoing.iter().map(emitted).collect();
        let fields = [
            ("outcome", Some(json!(outcome))),
            ("error", (!cause.error.is_empty()).then(|| json!(cause.error))),
            ("code", cause.code.map(|code| json!(code))),
            ("retry-after-ms", retry.and_then(|(after, _)| after).map(|after| json!(millis(after)))),
            ("retry-counts", retry.map(|(_, counts)| json!(counts))),
            ("emitted", Some(json!(emitted))),
            ("state", Some(state(called))),
            ("log", (!log.is_empty()).then(|| json!(log))),
        ];
        let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let requests = asked.iter().filter(|asked| matches!(asked, Asked::Requested { .. })).count();
        Self { effects: given.collect(), usage: called.usage, requests }
    }

    /// A line for each place that is not as expected.
    pub(super) fn differences(&self, expect: &Map<String, Value>) -> Vec<String> {
        let mut lines = Vec::new();
        for (key, expected) in expect {
            let bound = expected.as_u64().unwrap_or_default();
            match key.as_str() {
                "fuel-max" if self.usage.fuel > bound => {
                    lines.push(format!("fuel: expected at most {bound}, was {}", self.usage.fuel));
                }
                "time-max-ms" if self.usage.took.as_millis() > u128::from(bound) => {
                    lines.push(format!("time: expected at most {bound} ms, was {:?}", self.usage.took));
                }
                "fuel-max" | "time-max-ms" => {}
                _ => {
                    let observed = self.effects.get(key).unwrap_or(&Value::Null);
                    compare(key, &normal(key, expected), observed, &mut lines);
                }
            }
        }
        lines
    }
}

/// A line for each place in which two calls differ.
pub(super) fn between(one: &Observed, other: &Observed) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", &Value::Object(one.effects.clone()), &Value::Object(other.effects.clone()), &mut lines);
    lines
}

fn logged(asked: &Asked) -> Option<String> {
    match asked {
        Asked::Logged { level, text } => Some(format!("{level} {text}")),
        Asked::Published(_)
        | Asked::Repeated { .. }
        | Asked::Read { .. }
        | Asked::Listed { .. }
        | Asked::Written { .. }
        | Asked::Config { .. }
        | Asked::Requested { .. }
        | Asked::Refused { .. } => None,
    }
}

fn state(called: &Called) -> Value {
    let mut scopes: Map<String, Value> = Map::new();
    for (scope, name, value) in called.state.values() {
        let values = scopes.entry(Scope::as_str(scope)).or_insert_with(|| json!({}));
        if let Some(values) = values.as_object_mut() {
            values.insert(name.to_owned(), shown(value));
        }
    }
    scopes.into()
}

fn emitted(message: &Outgoing) -> Value {
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(shown);
    let header = |header: &Header| json!([header.name.to_string(), bytes_as_json(header.value.as_deref())]);
    let headers: Vec<Value> = message.headers.iter().map(header).collect();
    let fields = [
        ("topic", Some(json!(message.topic))),
        ("event-type", Some(json!(message.event_type))),
        ("key", Some(bytes(&message.key).unwrap_or_default())),
        ("payload", Some(bytes(&message.payload).unwrap_or_default())),
        ("content-type", message.content_type.as_ref().map(|of| json!(of))),
        ("headers", (!headers.is_empty()).then(|| json!(headers))),
        ("schema-version", message.schema_version.as_ref().map(|of| json!(of))),
        ("idempotency-key", message.idempotency_key.as_ref().map(|of| json!(of))),
        ("delay-ms", message.delay.map(|delay| json!(millis(delay)))),
    ];
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    given.collect::<Map<_, _>>().into()
}

/// JSON where the bytes are such, else text or base64.
fn shown(bytes: &[u8]) -> Value {
    match serde_json::from_slice(bytes) {
        // A text that looks like another form, and null, which stands for no bytes, say what they are.
        Ok(Value::String(_) | Value::Null) => json!({ "text": String::from_utf8_lossy(bytes) }),
        Ok(value) => value,
        Err(_) => bytes_as_json(Some(bytes)),
    }
}

/// An emitted message that is expected, with names as they are observed.
fn normal_message(expected: &Value) -> Value {
    let Some(fields) = expected.as_object() else { return expected.clone() };
    let named = fields.iter().map(|(name, value)| {
        let name = name.replace('_', "-");
        let is_bytes = name == "key" || name == "payload";
        let value = if is_bytes { normal_bytes(value) } else { value.clone() };
        (name, value)
    });
    named.collect::<Map<_, _>>().into()
}

fn normal_bytes(expected: &Value) -> Value {
    json_or_bytes(expected).map_or(Value::Null, |bytes| shown(&bytes))
}

/// Normalises what is expected into the form in which it is observed: bytes may be written in several.
fn normal(key: &str, expected: &Value) -> Value {
    match (key, expected) {
        ("emitted", Value::Array(list)) => list.iter().map(normal_message).collect::<Vec<_>>().into(),
        ("state", Value::Object(scopes)) => scopes
            .iter()
            .filter(|(_, values)| values.as_object().is_none_or(|values| !values.is_empty()))
            .map(|(scope, values)| {
                let values = values.as_object().map(|values| {
                    values
                        .iter()
                        .map(|(name, value)| (name.clone(), normal_bytes(value)))
                        .collect::<Map<_, _>>()
                });
                (scope.clone(), values.map_or(Value::Null, Value::Object))
            })
            .collect::<Map<_, _>>()
            .into(),
        (_, other) => other.clone(),
    }
}

/// Adds a line for each place where the two differ. Of an emitted message, what is not named is not compared.
fn compare(place: &str, expected: &Value, observed: &Value, lines: &mut Vec<String>) {
    match (expected, observed) {
        (Value::Object(expected), Value::Object(observed)) => {
            let is_message = place.starts_with("emitted[") && place.ends_with(']');
            for (key, expected) in expected {
                compare(&below(place, key), expected, observed.get(key).unwrap_or(&Value::Null), lines);
            }
            for (key, observed) in
                observed.iter().filter(|(key, _)| !is_message && !expected.contains_key(*key))
            {
                lines.push(format!("{}: expected nothing, was {observed}", below(place, key)));
            }
        }
        (Value::Array(expected), Value::Array(observed)) => {
            for place_in in 0..expected.len().max(observed.len()) {
                let place = format!("{place}[{place_in}]");
                match (expected.get(place_in), observed.get(place_in)) {
                    (Some(expected), Some(observed)) => compare(&place, expected, observed, lines),
                    (Some(expected), None) => {
                        lines.push(format!("{place}: expected {expected}, was nothing"))
                    }
                    (None, Some(observed)) => {
                        lines.push(format!("{place}: expected nothing, was {observed}"))
                    }
                    (None, None) => {}
                }
            }
        }
        (expected, observed) if expected == observed => {}
        (expected, Value::Null) => lines.push(format!("{place}: expected {expected}, was nothing")),
        (expected, observed) => lines.push(format!("{place}: expected {expected}, was {observed}")),
    }
}

fn below(place: &str, key: &str) -> String {
    if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(effects: Value) -> Observed {
        let effects = effects.as_object().cloned().unwrap_or_default();
        Observed { effects, usage: Usage::default(), requests: 0 }
    }

    fn differences(expect: Value, effects: Value) -> Vec<String> {
        observed(effects).differences(&expect.as_object().cloned().unwrap_or_default())
    }

    #[test]
    fn a_difference_names_its_place_and_both_values() {
        let effects = json!({
            "outcome": "completed", "error": "boom",
            "emitted": [{"topic": "totals", "key": "ada", "payload": {"cents": 4200}}, {"topic": "x"}],
            "state": {"keyed": {"total": 4200, "more": 1}},
        });
        let expect = json!({
            "outcome": "rejected",
            "emitted": [{"topic": "totals", "payload": {"cents": 4300}}],
            "state": {"keyed": {"total": "4200"}},
        });

        assert_eq!(
            differences(expect, effects),
            [
                "emitted[0].payload.cents: expected 4300, was 4200",
                "emitted[1]: expected nothing, was {\"topic\":\"x\"}",
                "outcome: expected \"rejected\", was \"completed\"",
                "state.keyed.more: expected nothing, was 1",
            ]
        );
    }

    #[test]
    fn bytes_are_the_same_in_each_form() {
        for (expected, bytes) in [
            (json!({"a": 1}), &b"{ \"a\": 1 }"[..]),
            (json!("{\"a\": 1}"), b"{\"a\":1}"),
            (json!({"text": "hello"}), b"hello"),
            (json!("hello"), b"hello"),
            (json!({"base64": "/w=="}), b"\xff"),
            (json!(null), b""),
        ] {
            let payload = if expected.is_null() { Value::Null } else { shown(bytes) };
            let effects = json!({"emitted": [{"payload": payload}]});
            let none: [&str; 0] = [];
            assert_eq!(differences(json!({"emitted": [{"payload": expected}]}), effects), none, "{expected}");
        }
    }
}
