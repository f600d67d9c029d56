//! Layout of answers: tables and fields for people, JSON for scripts. What guests, records and databases say
//! reaches a terminal only as text, and stays in its place.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use super::failure::Failure;
use crate::message::{one_line, shown_json, shown_lines};

/// Characters of an error that a list shows.
const SHORT_CHARACTERS_MAX: usize = 60;

/// A payload as it is; on a terminal, as text that only shows.
pub(super) fn payload(payload: &[u8]) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        return bytes(shown_lines(&String::from_utf8_lossy(payload)).as_bytes());
    }
    bytes(payload)
}

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

/// A line of text, or several.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    bytes(format!("{}\n", shown_lines(text)).as_bytes())
}

/// An answer for scripts.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::Io("writing JSON", error.into()))?;
    bytes(format!("{}\n", shown_json(&text)).as_bytes())
}

/// A table without lines; nothing but `none` where it has no rows.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, none: &str) -> Result<(), Failure> {
    if rows.is_empty() { line(none) } else { line(&table_text(header, rows)) }
}

/// A row is one line, whatever its cells say.
pub(crate) fn table_text(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let rows = rows.into_iter().map(|row| row.into_iter().map(|cell| one_line(&cell).into_owned()));
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec()).add_rows(rows);
    table.trim_fmt()
}

/// Adds key and payload to a message's columns, in the form that headers have.
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
        Some(bytes) => {
            format!("payload ({} bytes):\n  {}\n", bytes.len(), indented(&bytes_as_text(bytes), 2))
        }
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

/// The fields of a message; those that are null are left out.
pub(super) fn fields(fields: &Value) -> Result<(), Failure> {
    bytes(fields_text(fields).as_bytes())
}

/// A field begins a line, and further lines of its text stand below its first.
pub(crate) fn fields_text(fields: &Value) -> String {
    let fields = fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let rows: Vec<(&String, String)> = fields
        .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in rows {
        // Writing to a text cannot fail.
        let (name, value) = (one_line(name), indented(&value, width + 2));
        writeln!(text, "{name:width$}  {}", shown_lines(&value)).unwrap_or_default();
    }
    text
}

/// Text whose lines, but for the first, begin after so many spaces.
fn indented(text: &str, spaces: usize) -> String {
    text.replace('\n', &format!("\n{:spaces$}", ""))
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
    fn a_hostile_text_stays_in_its_cell_and_in_its_field() {
        let hostile = "a\u{1b}[2J\nFORGED  1\r\u{9b}2K";
        let table = table_text(&["KEY", "ERROR"], vec![vec![hostile.to_owned(), "b".to_owned()]]);
        assert_eq!(table.lines().count(), 2, "{table}");
        let fields = fields_text(&json!({ "key": hostile, "status": "dead" }));
        assert_eq!(fields, "key     a\\u{1b}[2J\n        FORGED  1\\r\\u{9b}2K\nstatus  dead\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_still_shown() {
        assert_eq!(bytes_as_json(None), Value::Null);
        assert_eq!(bytes_as_json(Some(b"a")), json!("a"));
        assert_eq!(bytes_as_json(Some(&[0xff])), json!({ "base64": "/w==" }));
        assert_eq!(bytes_as_text(&[0xff, 0]), "ff00");
    }
}
