//! How answers look: tables and fields for people, JSON for scripts.

use std::io::{self, Write as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use super::failure::Failure;

/// Characters of an error that a list shows.
const SHORT_CHARACTERS_MAX: usize = 60;

/// Writes to standard output. A reader that has gone, as after `| head`, is no failure.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Io("writing the answer", error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A line of text.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// An answer for scripts.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::Io("writing JSON", error.into()))?;
    line(&text)
}

/// A table without lines; nothing but `none` where it has no rows.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, none: &str) -> Result<(), Failure> {
    if rows.is_empty() {
        return line(none);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec()).add_rows(rows);
    line(&table.trim_fmt())
}

/// All of a message: its columns, and key and payload in the form that headers have.
pub(super) fn with_bytes(fields: &Value, key: Option<&[u8]>, payload: Option<&[u8]>) -> Value {
    let mut whole = fields.as_object().cloned().unwrap_or_default();
    whole.insert("key".to_owned(), bytes_as_json(key));
    whole.insert("payload".to_owned(), bytes_as_json(payload));
    Value::Object(whole)
}

/// A message for people: its fields, then its payload below.
pub(super) fn message(whole: &Value, payload: Option<&[u8]>) -> Result<(), Failure> {
    let mut rest = whole.as_object().cloned().unwrap_or_default();
    rest.remove("payload");
    fields(&Value::Object(rest))?;
    line(&match payload {
        None => "payload: none (a tombstone)\n".to_owned(),
        Some(bytes) => format!("payload ({} bytes):\n{}\n", bytes.len(), bytes_as_text(bytes)),
    })
}

/// Fields, and below them the calls that failed.
pub(super) fn with_attempts(fields: &Value, attempts: Vec<Value>) -> Value {
    let mut whole = fields.as_object().cloned().unwrap_or_default();
    whole.insert("failed_attempts".to_owned(), Value::Array(attempts));
    Value::Object(whole)
}

/// Calls that failed, each for itself.
pub(super) fn attempts(attempts: &[Value]) -> Result<(), Failure> {
    for attempt in attempts {
        line("\nfailed attempt:")?;
        fields(attempt)?;
    }
    Ok(())
}

/// The fields of a message, one a line; those that are null are left out.
pub(super) fn fields(fields: &Value) -> Result<(), Failure> {
    let fields = fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let rows: Vec<(&String, String)> = fields
        .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in rows {
        line(&format!("{name:width$}  {value}"))?;
    }
    Ok(())
}

/// Bytes in JSON: text where they are text, as headers are stored.
pub(super) fn bytes_as_json(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => Value::Null,
        Some(Ok(text)) => Value::String(text.to_owned()),
        Some(Err(bytes)) => json!({ "base64": BASE64.encode(bytes) }),
    }
}

/// Bytes for people: text, else hexadecimal.
fn bytes_as_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The beginning of a text, in one line.
pub(super) fn short(text: Option<&str>) -> String {
    let words: Vec<&str> = text.unwrap_or_default().split_whitespace().collect();
    let joined = words.join(" ");
    let mut cut: String = joined.chars().take(SHORT_CHARACTERS_MAX).collect();
    if cut.len() < joined.len() {
        cut.push('…');
    }
    cut
}

/// A moment, to the second.
pub(super) fn moment(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A length of time, to the second; what lies in the future is nothing.
pub(super) fn length(secs: f64) -> String {
    let whole = Duration::try_from_secs_f64(secs.max(0.0)).unwrap_or_default().as_secs();
    humantime::format_duration(Duration::from_secs(whole)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_errors_are_cut_to_one_line() {
        assert_eq!(short(None), "");
        assert_eq!(short(Some("a\n  b")), "a b");
        assert_eq!(short(Some(&"ü".repeat(61))), format!("{}…", "ü".repeat(60)));
    }

    #[test]
    fn bytes_that_are_no_text_are_still_shown() {
        assert_eq!(bytes_as_json(None), Value::Null);
        assert_eq!(bytes_as_json(Some(b"a")), json!("a"));
        assert_eq!(bytes_as_json(Some(&[0xff])), json!({ "base64": "/w==" }));
        assert_eq!(bytes_as_text(&[0xff, 0]), "ff00");
    }
}
