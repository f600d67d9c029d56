//! Output of a guest on stdout and stderr, and its log: the last of it is kept, the rest is swallowed and
//! counted. A guest never sees an error for writing too much, since `println!` would panic on it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Bytes that a guest may write at once; it may do so again at once.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Both streams of one call, in the order in which they were written.
#[derive(Clone)]
pub(super) struct Output {
    written: Arc<Mutex<Written>>,
    bytes_max: usize,
}

#[derive(Default)]
struct Written {
    tail: VecDeque<u8>,
    /// Bytes of all.
    bytes: u64,
    /// Ranges of bytes that were logged and not printed, as far as they are kept.
    logged: VecDeque<Range<u64>>,
}

impl Output {
    /// Keeps the last `bytes_max` bytes.
    pub(super) fn new(bytes_max: u32) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Self { written: Arc::default(), bytes_max }
    }

    /// Forgets what was written: a guest keeps its streams from one call to the next.
    pub(super) fn clear(&self) {
        *self.lock() = Written::default();
    }

    /// The last of it, and how much more there was; `None` where nothing was written.
    pub(super) fn text(&self) -> Option<String> {
        let written = self.bytes();
        let text = self.since(0);
        let kept = length(self.lock().tail.len());
        match written.saturating_sub(kept) {
            0 => (!text.is_empty()).then_some(text),
            dropped => Some(format!("{text}\n[{dropped} bytes before these were dropped: limits.log-bytes]")),
        }
    }

    /// Returns what was printed, without what was logged, as far as it is kept.
    pub(super) fn printed(&self) -> String {
        let mut written = self.lock();
        let Written { tail, bytes, logged } = &mut *written;
        let kept = tail.make_contiguous();
        let first = bytes.saturating_sub(length(kept.len()));
        let at = |place: u64| usize::try_from(place.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut printed = Vec::new();
        let mut from = 0;
        for line in &*logged {
            printed.extend_from_slice(kept.get(from..at(line.start)).unwrap_or_default());
            from = at(line.end);
        }
        printed.extend_from_slice(kept.get(from..).unwrap_or_default());
        String::from_utf8_lossy(&printed).into_owned()
    }

    /// Keeps a line that was logged, on a line of its own.
    pub(super) fn keep_line(&self, line: &str) {
        if self.is_within_line() {
            self.keep(b"\n");
        }
        let from = self.bytes();
        self.keep(line.as_bytes());
        let mut written = self.lock();
        let to = written.bytes;
        match written.logged.back_mut() {
            Some(before) if before.end == from => before.end = to,
            Some(_) | None => written.logged.push_back(from..to),
        }
        let first = to.saturating_sub(length(written.tail.len()));
        while written.logged.front().is_some_and(|line| line.end <= first) {
            written.logged.pop_front();
        }
    }

    /// Returns how many bytes were written.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Returns what was written after so many bytes, as far as it is kept.
    pub(super) fn since(&self, bytes: u64) -> String {
        let mut written = self.lock();
        let wanted = usize::try_from(written.bytes.saturating_sub(bytes)).unwrap_or(usize::MAX);
        let kept = written.tail.make_contiguous();
        let from = kept.len().saturating_sub(wanted);
        String::from_utf8_lossy(kept.get(from..).unwrap_or_default()).replace('\0', "\u{fffd}")
    }

    /// A line of the host's own among the guest's.
    pub(super) fn tell(&self, line: &str) {
        let before = if self.is_within_line() { "\n" } else { "" };
        self.keep(format!("{before}mailroom: {line}\n").as_bytes());
    }

    fn is_within_line(&self) -> bool {
        self.lock().tail.back().is_some_and(|last| *last != b'\n')
    }

    fn keep(&self, bytes: &[u8]) {
        let mut written = self.lock();
        written.bytes = written.bytes.saturating_add(length(bytes.len()));
        let tail = &mut written.tail;
        let over = (tail.len() + bytes.len()).saturating_sub(self.bytes_max);
        let dropped = over.min(tail.len());
        tail.drain(..dropped);
        tail.extend(bytes.iter().skip(over - dropped));
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    /// Only WASI 0.3 asks for it, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    /// Written through at once: the default writes in a task of its own, and a trap would lose the
    /// panic's words.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logged_lines_are_part_of_the_output_and_not_of_what_was_printed() {
        let output = Output::new(30);
        output.keep(b"one");
        output.keep_line("[info] two\n");
        output.keep_line("[info] three\n");
        output.keep(b"four\n");
        let kept = "\n[info] two\n[info] three\nfour\n";
        let dropped = "[3 bytes before these were dropped: limits.log-bytes]";
        assert_eq!(output.text(), Some(format!("{kept}\n{dropped}")));
        assert_eq!(output.printed(), "\nfour\n");
        output.keep_line(&"x".repeat(40));
        assert_eq!(output.printed(), "");
        output.keep(b"\nfive");
        assert_eq!(output.printed(), "\nfive");
        let nothing = Output::new(0);
        nothing.keep_line("nothing is kept\n");
        assert_eq!((nothing.printed(), nothing.bytes()), (String::new(), 16));
    }

    #[test]
    fn the_tail_is_kept_and_the_rest_is_swallowed_and_counted() {
        let output = Output::new(8);
        assert_eq!(output.text(), None);
        output.keep(b"abc");
        assert_eq!(output.text().as_deref(), Some("abc"));
        output.keep(b"defghij");
        let counted = |kept: &str, dropped: u64| {
            Some(format!("{kept}\n[{dropped} bytes before these were dropped: limits.log-bytes]"))
        };
        assert_eq!(output.text(), counted("cdefghij", 2));
        assert_eq!((output.since(9), output.since(10)), ("j".to_owned(), String::new()));
        output.keep(b"0123456789ab");
        assert_eq!(output.text(), counted("456789ab", 14));
        let nothing = Output::new(0);
        nothing.keep(b"nothing is kept");
        assert_eq!(nothing.text(), counted("", 15));
    }
}
