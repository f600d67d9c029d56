//! New connections: the name is looked up once, and what it leads to is judged before anything is sent.
//!
//! Names pass the resolver and addresses do not, so both places judge.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use ipnet::IpNet;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tower_service::Service;

use super::address::may_reach;
use crate::config::Http;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Reason why a connection was not even begun.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{host} is {address}, which is not public; the operator may allow it: http.addresses = [\"{}\"]",
    IpNet::from(*.address)
)]
pub(super) struct Prohibited {
    host: String,
    address: IpAddr,
}

/// A connection, its TLS included, took longer than it may.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("there was no connection after {}", humantime::format_duration(*.0))]
pub(super) struct TooSlow(Duration);

/// Opens connections for the client's pool.
#[derive(Clone)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector<Resolver>>,
    resolver: Resolver,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(settings: &Http) -> Self {
        let resolver = Resolver { allowed: settings.addresses.as_slice().into() };
        let mut plain = HttpConnector::new_with_resolver(resolver.clone());
        plain.enforce_http(false);
        plain.set_nodelay(true);
        plain.set_connect_timeout(Some(settings.connect_timeout));
        let inner = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(plain);
        Self { inner, resolver, timeout: settings.connect_timeout }
    }
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector<Resolver>> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        if let Err(prohibited) = self.resolver.judge_literal(&to) {
            return Box::pin(async move { Err(prohibited.into()) });
        }
        let (connecting, limit) = (self.inner.call(to), self.timeout);
        // The pool may go on with a connection that nobody waits for any more.
        Box::pin(async move { timeout(limit, connecting).await.map_err(|_| TooSlow(limit))? })
    }
}

/// Looks names up, and keeps of their addresses those that may be reached.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    allowed: Arc<[IpNet]>,
}

impl Resolver {
    fn judge_literal(&self, to: &Uri) -> Result<(), Prohibited> {
        let host = to.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) if !may_reach(address, &self.allowed) => {
                Err(Prohibited { host: host.to_owned(), address })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allowed = Arc::clone(&self.allowed);
        Box::pin(async move {
            let found: Vec<SocketAddr> = lookup_host((name.as_str(), 0)).await?.collect();
            let open = |address: &&SocketAddr| may_reach(address.ip(), &allowed);
            let open: Vec<SocketAddr> = found.iter().filter(open).copied().collect();
            match found.first() {
                Some(first) if open.is_empty() => {
                    Err(Prohibited { host: name.to_string(), address: first.ip() }.into())
                }
                Some(_) | None => Ok(open.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::causes;
    use super::*;
    use crate::handler::tests::config;

    async fn connected(to: &str, allowed: &[&str]) -> Result<(), String> {
        let addresses = allowed.iter().map(|range| range.parse().unwrap()).collect();
        let settings = Http { addresses, ..config().http };
        let connecting = Connector::new(&settings).call(to.parse().unwrap());
        connecting.await.map(|_| ()).map_err(|error| {
            let words: Vec<String> = causes(error.as_ref()).map(ToString::to_string).collect();
            format!("{error}: {}", words.join(": "))
        })
    }

    #[tokio::test]
    async fn neither_a_name_nor_an_address_leads_where_nothing_may_go() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433"] {
            let said = connected(&format!("http://{host}:{port}/"), &[]).await.unwrap_err();
            assert!(said.contains("is not public"), "{host}: {said}");
        }
        assert_eq!(connected(&format!("http://127.0.0.1:{port}/"), &["127.0.0.0/8"]).await, Ok(()));
        assert_eq!(connected(&format!("http://localhost:{port}/"), &["127.0.0.0/8"]).await, Ok(()));
    }
}
