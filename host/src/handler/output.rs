//! What a guest writes to stdout and stderr: the last of it is kept, the rest is swallowed. A guest never
//! sees an error for writing too much, since `println!` would panic on it.

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
    tail: Arc<Mutex<VecDeque<u8>>>,
    bytes_max: usize,
}

impl Output {
    /// Keeps the last `bytes_max` bytes.
    pub(super) fn new(bytes_max: u32) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Self { tail: Arc::default(), bytes_max }
    }

    /// The last of it; `None` where nothing was written.
    pub(super) fn text(&self) -> Option<String> {
        let mut tail = self.lock();
        let bytes = tail.make_contiguous();
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}"))
    }

    fn keep(&self, bytes: &[u8]) {
        let mut tail = self.lock();
        let over = (tail.len() + bytes.len()).saturating_sub(self.bytes_max);
        let dropped = over.min(tail.len());
        tail.drain(..dropped);
        tail.extend(bytes.iter().skip(over - dropped));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn the_tail_is_kept_and_the_rest_is_swallowed() {
        let output = Output::new(8);
        assert_eq!(output.text(), None);
        output.keep(b"abc");
        assert_eq!(output.text().as_deref(), Some("abc"));
        output.keep(b"defghij");
        assert_eq!(output.text().as_deref(), Some("cdefghij"));
        output.keep(b"0123456789ab");
        assert_eq!(output.text().as_deref(), Some("456789ab"));
        Output::new(0).keep(b"nothing is kept");
    }
}
