//! One client a handler, so that no handler gets a connection that another has spoken on; and for all of them
//! together the bound on what is under way at once.
//!
//! Connections are kept for a little while: a handshake for each message would cost more than the call. A
//! kept one goes to the address that was judged when it was opened.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::answer::Answer;
use super::connect::Connector;
use super::error::{self, Failed};
use crate::config::Http;

/// Connections to one host that are kept, and for how long.
const IDLE_MAX: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Parts that all clients of this process share.
pub(in crate::handler) struct Clients {
    settings: Http,
    connector: Connector,
    places: Arc<Semaphore>,
}

/// One handler's client. It sends whatever it is given: whether it may is decided before.
pub(in crate::handler) struct Client {
    pool: legacy::Client<Connector, WasiBody>,
    /// Places of the client's own share, and those of all clients.
    places: [Arc<Semaphore>; 2],
    head_max: u32,
}

/// Timeouts of one request.
#[derive(Debug, Clone, Copy)]
pub(in crate::handler) struct Patience {
    /// Time until the response's head is there.
    pub(in crate::handler) head: Duration,
    /// Time between two pieces of its body.
    pub(in crate::handler) between: Duration,
    /// Moment at which all has to be over.
    pub(in crate::handler) deadline: Instant,
}

impl Patience {
    /// Takes the guest's wishes, and never goes beyond the call's deadline.
    pub(in crate::handler) fn new(options: Option<RequestOptions>, deadline: Instant) -> Self {
        let RequestOptions { connect_timeout, first_byte_timeout, between_bytes_timeout } =
            options.unwrap_or_default();
        let left = deadline.saturating_duration_since(Instant::now());
        let head = match (connect_timeout, first_byte_timeout) {
            (Some(connect), Some(first_byte)) => connect.saturating_add(first_byte),
            (None, Some(first_byte)) => first_byte,
            (Some(_) | None, None) => left,
        };
        Self { head: head.min(left), between: between_bytes_timeout.unwrap_or(left).min(left), deadline }
    }
}

impl Clients {
    pub(in crate::handler) fn new(settings: Http) -> Self {
        let connector = Connector::new(&settings);
        Self { connector, places: Arc::new(Semaphore::new(settings.requests_max)), settings }
    }

    /// A client for one handler, with connections of its own.
    pub(in crate::handler) fn client(&self) -> Arc<Client> {
        let head_max = self.settings.response_head_max;
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .http1_max_buf_size(usize::try_from(head_max).unwrap_or(usize::MAX))
            .build(self.connector.clone());
        // Half of them: a handler whose servers never answer leaves room for the others.
        let own = Arc::new(Semaphore::new((self.settings.requests_max / 2).max(1)));
        Arc::new(Client { pool, places: [own, Arc::clone(&self.places)], head_max })
    }
}

impl Client {
    /// Sends a request once there is a place for it, and gives the response with its body still to come.
    pub(in crate::handler) async fn send(
        &self,
        request: Request<WasiBody>,
        patience: Patience,
    ) -> Result<Response<WasiBody>, Failed> {
        let head_by = Instant::now() + patience.head;
        let sent = timeout_at(head_by, async {
            let places = self.places().await?;
            let response = self.pool.request(request).await;
            Ok((places, response.map_err(|failed| error::of_request(&failed, self.head_max))?))
        });
        let (places, response) = sent.await.unwrap_or_else(|_| {
            let why = format!("there was no response after {}", humantime::format_duration(patience.head));
            Err(Failed::new(Error::ConnectionReadTimeout, why))
        })?;
        Ok(response.map(|incoming| Answer::new(incoming, places, patience).boxed_unsync()))
    }

    async fn places(&self) -> Result<[OwnedSemaphorePermit; 2], Failed> {
        let closed = |_| Failed::new(Error::ConnectionLimitReached, "the host is stopping".to_owned());
        let [own, all] = &self.places;
        let own = Arc::clone(own).acquire_owned().await.map_err(closed)?;
        let all = Arc::clone(all).acquire_owned().await.map_err(closed)?;
        Ok([own, all])
    }
}
