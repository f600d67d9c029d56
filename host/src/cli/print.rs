//! Layout of answers: tables and fields for people, JSON for scripts. What guests, records and databases say
//! reaches a terminal only as text, and stays in its place.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;
use crate::message::{one_line, shown_json, shown_lines};
use crate::shown::bytes_as_text;
pub(super) use crate::wording::{length, moment, short};

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

/// A dead letter: its fields, the calls that failed, and the payload last, however long it is.
pub(super) fn letter(mut letter: Value) -> Result<(), Failure> {
    let mut take = |name| letter.as_object_mut().and_then(|whole| whole.remove(name));
    let (failed, payload) = (take("failed_attempts"), take("payload"));
    fields(&letter)?;
    attempts(failed.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default())?;
    match payload {
        None => Ok(()),
        Some(payload) => fields(&serde_json::json!({ "payload": payload })),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hostile_text_stays_in_its_cell_and_in_its_field() {
        let hostile = "a\u{1b}[2J\nFORGED  1\r\u{9b}2K";
        let table = table_text(&["KEY", "ERROR"], vec![vec![hostile.to_owned(), "b".to_owned()]]);
        assert_eq!(table.lines().count(), 2, "{table}");
        let fields = fields_text(&json!({ "key": hostile, "status": "dead" }));
        assert_eq!(fields, "key     a\\u{1b}[2J\n        FORGED  1\\r\\u{9b}2K\nstatus  dead\n");
    }
}
