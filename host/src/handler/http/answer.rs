//! The body of a response, read as the guest reads it: nothing is read ahead but what the connection holds.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use wasmtime_wasi_http::Error;

use super::client::Patience;
use super::error;

/// A body that holds its request's places until it has ended or is dropped.
pub(super) struct Answer {
    incoming: Incoming,
    _places: [OwnedSemaphorePermit; 2],
    patience: Patience,
    pause: Pin<Box<Sleep>>,
}

impl Answer {
    pub(super) fn new(incoming: Incoming, places: [OwnedSemaphorePermit; 2], patience: Patience) -> Self {
        let pause = Box::pin(sleep_until(next_by(patience)));
        Self { incoming, _places: places, patience, pause }
    }
}

fn next_by(patience: Patience) -> Instant {
    (Instant::now() + patience.between).min(patience.deadline)
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if Instant::now() < self.patience.deadline
            && let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx)
        {
            let by = next_by(self.patience);
            self.pause.as_mut().reset(by);
            return Poll::Ready(frame.map(|frame| frame.map_err(|failed| error::of_hyper(&failed, 0))));
        }
        ready!(self.pause.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
