//! The admin port: whether this process lives and is ready, its metrics, the JSON API and the pages, over HTTP/1.
//!
//! Invariants: nobody who connects can hold up a loop of the host, however slowly they send or read and however many
//! they are: requests, connections and the time of each are bounded, and of Postgres' connections a quarter is theirs.
//! Health and metrics are made of what memory has. Every request passes `access` first, and every change is in the audit.

mod access;
mod acts;
mod api;
mod backend;
mod content;
mod health;
mod openapi;
mod origin;
mod pages;
mod pulse;
mod refusal;
mod routes;
mod server;
mod session;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use access::Access;
pub(crate) use backend::Backend;
pub(crate) use pulse::Pulse;

/// Pause between two tries to have a port that another process has.
const TRY_EVERY: Duration = Duration::from_secs(10);

/// State that the routes read, and what they change.
#[derive(Debug, Clone)]
pub(crate) struct Readable {
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    pub(crate) pulse: Pulse,
    pub(crate) backend: Backend,
}

/// The address that somebody set cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("admin.listen = \"{address}\" cannot be had: {source}; set another address, or \"off\" for none")]
pub(crate) struct AdminError {
    address: SocketAddr,
    source: io::Error,
}

/// The port, which may be another's for now.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    listener: Option<TcpListener>,
    access: Access,
}

impl Port {
    /// Listens; `None` where nobody wants to.
    ///
    /// # Errors
    /// Where somebody set an address and it cannot be had. Two hosts on one machine have the same default: the second goes
    /// on without, says so, and takes the port once it is free.
    pub(crate) async fn open(admin: &config::Admin) -> Result<Option<Self>, AdminError> {
        let Some(address) = admin.listen else { return Ok(None) };
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => Some(listener),
            Err(source) if admin.is_listen_given => return Err(AdminError { address, source }),
            Err(error) => {
                tracing::warn!(
                    "Metrics and health of this host cannot be read: {address} cannot be had ({error}). Set \
                     admin.listen to another address, or to \"off\"; until then it is tried again"
                );
                None
            }
        };
        Ok(Some(Self { address, listener, access: Access::new(admin) }))
    }

    /// Answers until it is stopped; then what is being answered has half a second.
    pub(crate) async fn serve(self, readable: Readable, stop: CancellationToken) {
        let listener = tokio::select! {
            () = stop.cancelled() => return,
            listener = listening(self.address, self.listener) => listener,
        };
        match listener.local_addr() {
            Ok(address) => tracing::info!("Metrics, health and the dashboard are at http://{address}"),
            Err(error) => tracing::warn!(%error, "The admin port has no address"),
        }
        server::serve(listener, routes::routes(readable, self.access), stop).await;
    }
}

/// Waits for the port where it is another's.
async fn listening(address: SocketAddr, listener: Option<TcpListener>) -> TcpListener {
    if let Some(listener) = listener {
        return listener;
    }
    loop {
        tokio::time::sleep(TRY_EVERY).await;
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
    }
}
