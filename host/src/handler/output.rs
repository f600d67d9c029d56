//! What a guest writes to stdout and stderr: the last of it is kept, the rest is swallowed and counted. A guest
//! never sees an error for writing too much, since `println!` would panic on it.

use std::collections::VecDeque;
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
        let kept = u64::try_from(self.lock().tail.len()).unwrap_or(u64::MAX);
        match written.saturating_sub(kept) {
            0 => (!text.is_empty()).then_some(text),
            dropped => Some(format!("{text}\n[{dropped} bytes before these were dropped: limits.log-bytes]")),
        }
    }

    /// How many bytes were written.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// What was written after so many bytes, as far as it is kept.
    pub(super) fn since(&self, bytes: u64) -> String {
        let mut written = self.lock();
        let wanted = usize::try_from(written.bytes.saturating_sub(bytes)).unwrap_or(usize::MAX);
        let kept = written.tail.make_contiguous();
        let from = kept.len().saturating_sub(wanted);
        String::from_utf8_lossy(kept.get(from..).unwrap_or_default()).replace('\0', "\u{fffd}")
    }

    /// A line of the host's own among the guest's.
    pub(super) fn tell(&self, line: &str) {
        let begun = self.lock().tail.back().is_some_and(|last| *last != b'\n');
        self.keep(format!("{}mailroom: {line}\n", if begun { "\n" } else { "" }).as_bytes());
    }

    fn keep(&self, bytes: &[u8]) {
        let mut written = self.lock();
        written.bytes = written.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
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
