//! Messages and letters as JSON for people and scripts, by the command line and over HTTP alike.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::db::{Db, DbError, dead_letters};
use crate::{inbox, outbox};

/// A dead letter with its failed attempts and the content of its message, where that is still there.
pub(crate) async fn dead_letter(db: &Db, id: Uuid) -> Result<Option<Value>, DbError> {
    let Some(mut letter) = dead_letters::show(db, id).await? else { return Ok(None) };
    let attempts = inbox::failed_attempts_of_letter(db, &letter).await?;
    let text = |name| letter.get(name).and_then(Value::as_str).unwrap_or_default();
    let (message, message_id) = (text("message").to_owned(), text("message_id"));
    let found = if text("origin") == "inbox" {
        let is_of_letter =
            |fields: &Value| fields.get("id").and_then(Value::as_str) == Some(message.as_str());
        let of_groups = inbox::browse::show(db, message_id).await?.into_iter();
        let found = of_groups.rev().find(|found| is_of_letter(&found.fields));
        found.map(|found| (found.fields, found.key, found.payload))
    } else {
        let found = outbox::browse::show(db, message.parse().unwrap_or_default()).await?;
        found.map(|found| (found.fields, found.key, found.payload))
    };
    if let (Some((fields, key, payload)), Some(whole)) = (found, letter.as_object_mut()) {
        for (name, value) in [
            ("headers", fields.get("headers").cloned().unwrap_or_default()),
            ("message_status", fields.get("status").cloned().unwrap_or_default()),
            ("key", bytes_as_json(key.as_deref())),
            ("payload", bytes_as_json(payload.as_deref())),
            ("payload_digest", Value::from(dead_letters::digest(payload.as_deref()))),
        ] {
            whole.insert(name.to_owned(), value);
        }
    }
    Ok(Some(with_attempts(&letter, attempts)))
}

/// All of a message: its columns, and key and payload in the form that headers have.
pub(crate) fn with_bytes(fields: &Value, key: Option<&[u8]>, payload: Option<&[u8]>) -> Value {
    let mut whole = fields.as_object().cloned().unwrap_or_default();
    whole.insert("key".to_owned(), bytes_as_json(key));
    whole.insert("payload".to_owned(), bytes_as_json(payload));
    Value::Object(whole)
}

/// Fields, and below them the calls that failed.
pub(crate) fn with_attempts(fields: &Value, attempts: Vec<Value>) -> Value {
    let mut whole = fields.as_object().cloned().unwrap_or_default();
    whole.insert("failed_attempts".to_owned(), Value::Array(attempts));
    Value::Object(whole)
}

/// Bytes in JSON: text where they are text, as headers are stored.
pub(crate) fn bytes_as_json(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => Value::Null,
        Some(Ok(text)) => Value::String(text.to_owned()),
        Some(Err(bytes)) => bytes_as_base64(bytes),
    }
}

/// Bytes in JSON where they are no text, or may not be shown as text.
pub(crate) fn bytes_as_base64(bytes: &[u8]) -> Value {
    json!({ "base64": BASE64.encode(bytes) })
}

/// Bytes as [`bytes_as_json`] writes them.
///
/// # Errors
/// Says what they may look like.
pub(crate) fn bytes_of_json(value: &Value) -> Result<Option<Vec<u8>>, String> {
    if let Value::String(text) = value {
        return Ok(Some(text.clone().into_bytes()));
    }
    let base64 = value.as_object().filter(|object| object.len() == 1).and_then(|object| object.get("base64"));
    let bytes = base64.and_then(Value::as_str).and_then(|text| BASE64.decode(text).ok());
    if bytes.is_some() || value.is_null() {
        return Ok(bytes);
    }
    Err(r#"must be text, null for none, or {"base64": "…"} for bytes that are no text"#.to_owned())
}

/// Bytes for people: text, else hexadecimal.
pub(crate) fn bytes_as_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => hex(bytes),
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names the field that says when a letter was closed; nothing of an open one.
pub(crate) fn closed_at(letter: &Value) -> Option<&'static str> {
    let is_set = |name: &&str| letter.get(*name).is_some_and(|at| !at.is_null());
    ["replayed_at", "discarded_at"].into_iter().find(is_set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_still_shown() {
        assert_eq!(bytes_as_json(None), Value::Null);
        assert_eq!(bytes_as_json(Some(b"a")), json!("a"));
        assert_eq!(bytes_as_json(Some(&[0xff])), json!({ "base64": "/w==" }));
        assert_eq!(bytes_as_text(&[0xff, 0]), "ff00");
    }

    #[test]
    fn bytes_are_read_as_they_are_shown() {
        for bytes in [None, Some(b"a".as_slice()), Some(b"".as_slice()), Some([0xff].as_slice())] {
            assert_eq!(bytes_of_json(&bytes_as_json(bytes)).unwrap().as_deref(), bytes);
        }
        for wrong in [json!(1), json!({"base64": "?"}), json!({"base64": "", "more": 1}), json!(["a"])] {
            bytes_of_json(&wrong).unwrap_err();
        }
    }
}
