//! Takes connections and answers one request on each, all in one task: they share what one thread has for them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::reminder::Reminder;

/// Connections at once. One more ends the oldest: whoever only holds one up does not keep others out.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// Time for a request's head.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Time for a connection, until its answer was read.
pub(super) const CONNECTION_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of what is read or written at once.
const BUFFER_BYTES: usize = 16 * 1024;
/// Time for what is being answered at a stop.
const GOODBYES: Duration = Duration::from_millis(500);
/// Pause after the system gives no connection.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// The connections, each by its number.
#[derive(Default)]
struct Connections {
    last: u64,
    open: BTreeMap<u64, AbortHandle>,
    served: FuturesUnordered<BoxFuture<'static, u64>>,
}

/// Serves until it is stopped; then takes no more, and waits half a second for what is being answered.
pub(super) async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let (mut connections, mut reminder) = (Connections::default(), Reminder::default());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(number) = connections.served.next() => drop(connections.open.remove(&number)),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.begin(stream, &routes, &stop),
                Err(error) => {
                    if reminder.is_due(Instant::now()) {
                        tracing::warn!(%error, "The admin port gets no connection from the system");
                    }
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            },
        }
    }
    drop(listener);
    let answered = async { while connections.served.next().await.is_some() {} };
    if timeout(GOODBYES, answered).await.is_err() {
        tracing::debug!("Connections to the admin port are dropped");
    }
}

impl Connections {
    fn begin(&mut self, stream: TcpStream, routes: &Router, stop: &CancellationToken) {
        if self.open.len() >= CONNECTIONS_MAX
            && let Some((_, oldest)) = self.open.pop_first()
        {
            oldest.abort();
        }
        self.last += 1;
        let number = self.last;
        let (abort, registration) = AbortHandle::new_pair();
        self.open.insert(number, abort);
        let answer = timeout(CONNECTION_WITHIN, answer(stream, routes.clone(), stop.clone()));
        self.served.push(Abortable::new(answer, registration).map(move |_| number).boxed());
    }
}

/// Answers one request.
async fn answer(stream: TcpStream, routes: Router, stop: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    builder.keep_alive(false).max_buf_size(BUFFER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "A connection to the admin port ended");
    }
}
