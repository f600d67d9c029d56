//! Lines that the host writes to standard error by `tracing`, for people or for machines. Standard output
//! belongs to what a command answers.

use std::fmt::Result;
use std::io::{self, IsTerminal as _};

use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{DefaultFields, FormatFields, Writer};
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Log, LogFormat};
use crate::db::NOTICES;
use crate::message::{one_line, shown_json};

/// A library that warns of what its guests do wrong, as often as they do. They are told themselves, and a filter may
/// name it.
const QUIET: &str = "wasmtime_wasi_http=off";

/// Begins logging, once a process. The config has checked the filter.
pub(crate) fn init(log: &Log) {
    let colours = std::io::stderr().is_terminal();
    // A million of them cost a guest with SQL one statement. Whoever wants them names them in the filter.
    let filter = EnvFilter::new(format!("{QUIET},{NOTICES}=off,{}", log.filter));
    let begun = match log.format {
        LogFormat::Text => fmt()
            .fmt_fields(OneLine(DefaultFields::new()))
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(colours)
            .try_init(),
        LogFormat::Json => fmt()
            .json()
            .flatten_event(true)
            .with_env_filter(filter)
            .with_writer(|| ShownJson(io::stderr()))
            .try_init(),
    };
    if let Err(error) = begun {
        tracing::warn!(%error, "Logging has begun before and keeps its first form");
    }
}

/// Begins to tell an author at a terminal what takes long, and nothing else.
pub(crate) fn init_for_author() {
    let begun = fmt()
        .fmt_fields(OneLine(DefaultFields::new()))
        .with_env_filter(EnvFilter::new("off,mailroom::handler::compile=info"))
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_level(false)
        .with_target(false)
        .without_time()
        .try_init();
    // Whoever began before has lines of its own for it.
    drop(begun);
}

/// An event's message and fields in one line that a terminal only shows: guests, records and servers have a say in them.
struct OneLine(DefaultFields);

impl<'w> FormatFields<'w> for OneLine {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> Result {
        let mut text = String::new();
        self.0.format_fields(Writer::new(&mut text), fields)?;
        writer.write_str(&one_line(&text))
    }
}

/// Takes an event's JSON, whole, and writes it likewise.
struct ShownJson<W>(W);

impl<W: io::Write> io::Write for ShownJson<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(shown_json(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Returns what a host would write of an event with this message and this field.
    pub(crate) fn logged(message: &str, field: &str) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&written);
        let lines = fmt()
            .fmt_fields(OneLine(DefaultFields::new()))
            .with_writer(move || Sink(Arc::clone(&sink)))
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(lines, || tracing::warn!(handler.name = %field, "{message}"));
        String::from_utf8(written.lock().unwrap().clone()).unwrap()
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_it_quotes() {
        let forged =
            "x\n2026-11-29T02:20:00.000000Z  WARN mailroom::outage: Postgres is away\u{1b}[2J\r\u{9b}1m";
        let line = logged(forged, "a\nb\u{1b}[0m");
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.ends_with('\n') && !line.trim_end().contains(char::is_control), "{line:?}");
        assert!(line.contains(r"x\n2026") && line.contains(r"a\nb"), "{line}");
    }

    #[test]
    fn an_event_in_json_has_no_byte_that_a_terminal_obeys() {
        let event = serde_json::json!({ "message": "a\u{9b}2J\u{7f}\n\u{202e}" }).to_string() + "\n";
        let mut written = ShownJson(Vec::new());
        io::Write::write_all(&mut written, event.as_bytes()).unwrap();
        let line = String::from_utf8(written.0).unwrap();
        assert!(!line.trim_end().contains(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&line), value(&event));
    }
}
