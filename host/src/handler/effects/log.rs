//! Lines of a handler for the host's log: those of a granted level are taken, up to a number; the rest is
//! dropped and counted. What is taken holds nothing that could pass for another line or steer a terminal.

use super::{Asked, Effects, length, refused};
use crate::config::{HandlerName, LogLevel};
use crate::message::bounded;

/// Bytes of one line's text.
const TEXT_BYTES_MAX: usize = 8000;
/// Bytes of one line's context.
const CONTEXT_BYTES_MAX: usize = 200;
/// Direction marks, and line breaks of Unicode that are no control characters.
const MISLEADING: [char; 13] = [
    '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
    '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
];

/// Ends a call that logs more lines than it may.
#[derive(Debug, thiserror::Error)]
#[error("more lines than limits.log-lines")]
pub(in crate::handler) struct TooManyLines;

/// Log of one call.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Lines of a granted level.
    taken: u32,
    /// Bytes of them in the host's log.
    told: u64,
    /// Lines that had no room there.
    untold: u32,
    /// Lines of a level that is not granted.
    denied: u64,
}

/// One line that was taken.
#[derive(Debug)]
pub(in crate::handler) struct Line {
    level: LogLevel,
    /// The context before the text, where there is one.
    text: String,
    /// True if there is room for it in the host's log.
    told: bool,
}

impl Effects {
    /// Takes a line, where its level is granted.
    pub(in crate::handler) fn log(
        &mut self,
        level: LogLevel,
        context: &str,
        text: &str,
    ) -> Result<Option<Line>, TooManyLines> {
        let (granted, limits) = (self.manifest.grants.log, &self.manifest.limits);
        if level > granted {
            self.lines.denied += 1;
            if self.lines.denied == 1 {
                let (request, why) =
                    (format!("a log line of level {}", level.as_str()), denial(granted, level));
                self.note(|| refused(request, Some("grants.log"), &why));
            }
            return Ok(None);
        }
        if self.lines.taken >= limits.log_lines {
            return Err(TooManyLines);
        }
        self.lines.taken += 1;
        let text = harmless(text, TEXT_BYTES_MAX);
        let text = match harmless(context, CONTEXT_BYTES_MAX) {
            context if context.is_empty() => text,
            context => format!("{context}: {text}"),
        };
        let told = self.lines.told.saturating_add(length(text.len()));
        let has_room = told <= u64::from(limits.log_bytes);
        if has_room {
            self.lines.told = told;
        } else {
            self.lines.untold += 1;
        }
        self.note(|| Asked::Logged { level: level.as_str(), text: text.clone() });
        Ok(Some(Line { level, text, told: has_room }))
    }

    /// Says in the host's log what a handler logs.
    pub(in crate::handler) fn tell(&self, handler: &HandlerName, line: &Line) {
        // The level of an event is part of its place in the code.
        macro_rules! tell {
            ($say:ident, $text:expr) => {
                tracing::$say!(
                    target: "mailroom::guest",
                    { handler.name = %handler, message.id = %self.message },
                    "{handler}: {}",
                    $text
                )
            };
        }
        if !line.told {
            return;
        }
        let text = line.text.replace('\n', "\\n");
        match line.level {
            LogLevel::Off => {}
            LogLevel::Error => tell!(error, text),
            LogLevel::Warn => tell!(warn, text),
            LogLevel::Info => tell!(info, text),
            LogLevel::Debug => tell!(debug, text),
            LogLevel::Trace => tell!(trace, text),
        }
    }

    /// Says, once the call has ended, how many lines are not in the log and why.
    pub(in crate::handler) fn tell_dropped_lines(&self, handler: &HandlerName) {
        let Lines { denied, untold, .. } = self.lines;
        if denied > 0 {
            let granted = self.manifest.grants.log.as_str();
            tracing::debug!(
                handler.name = %handler, message.id = %self.message,
                "{handler}: {denied} log lines were dropped, grants.log = \"{granted}\""
            );
        }
        if untold > 0 {
            tracing::info!(
                handler.name = %handler, message.id = %self.message,
                "{handler}: {untold} more log lines of this call are not here: limits.log-bytes"
            );
        }
    }
}

impl Line {
    /// Formats it as the call's output has it.
    pub(in crate::handler) fn shown(&self) -> String {
        format!("[{}] {}\n", self.level.as_str(), self.text)
    }
}

fn denial(granted: LogLevel, level: LogLevel) -> String {
    let level = level.as_str();
    match granted {
        LogLevel::Off => {
            format!("the handler may not write to the log; add it to its manifest: grants.log = \"{level}\"")
        }
        LogLevel::Error | LogLevel::Warn | LogLevel::Info | LogLevel::Debug | LogLevel::Trace => format!(
            "the handler may log no more than grants.log = \"{}\"; raise it in its manifest: grants.log = \"{level}\"",
            granted.as_str()
        ),
    }
}

/// Text without what could pass for another line or steer a terminal, cut to so many bytes.
fn harmless(text: &str, bytes_max: usize) -> String {
    if text.trim().is_empty() {
        return String::new();
    }
    let mut shown = String::new();
    for c in bounded(text, bytes_max).chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            _ if c.is_control() || MISLEADING.contains(&c) => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
    }
    bounded(&shown, bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_neither_end_a_line_of_the_log_nor_steer_a_terminal() {
        for (text, shown) in [
            ("plain, äöü 日本 👍🏽", "plain, äöü 日本 👍🏽"),
            ("a\u{1b}[31mred", "a\\u{1b}[31mred"),
            ("a\rb\u{2028}c\u{202e}d\u{7f}", "a\\u{d}b\\u{2028}c\\u{202e}d\\u{7f}"),
            ("two\n\tlines\n", "two\n\tlines"),
            ("  ", ""),
        ] {
            assert_eq!(harmless(text, 100), shown);
        }
        for text in ["x".repeat(1000), "\u{1b}".repeat(1000)] {
            assert!(harmless(&text, 100).len() <= 100, "{text:?}");
        }
    }
}
