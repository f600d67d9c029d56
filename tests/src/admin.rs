//! A host's admin port, asked as `curl` would ask it, byte by byte where a test wants that.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::exposition::Exposition;

/// An answer takes longer only where the host hangs.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// Admin port of a host.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    address: SocketAddr,
}

/// Answer of the port to one request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The code of its status.
    pub status: u16,
    /// Headers, as they came.
    pub head: String,
    /// Body of the answer.
    pub body: String,
}

impl Admin {
    /// The port at this address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Returns the address at which it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects, and asks nothing yet.
    ///
    /// # Errors
    /// Where nobody listens.
    pub async fn connect(&self) -> Result<TcpStream> {
        TcpStream::connect(self.address).await.with_context(|| format!("nobody listens at {}", self.address))
    }

    /// Asks for a path, with more lines of the head such as `"Authorization: Bearer x\r\n"`.
    ///
    /// # Errors
    /// Where there is no answer.
    pub async fn ask(&self, method: &str, path: &str, head: &str) -> Result<Answer> {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{head}\r\n", self.address);
        self.send(&request).await
    }

    /// Sends bytes of the test's own and reads the answer.
    ///
    /// # Errors
    /// As [`Admin::ask`].
    pub async fn send(&self, request: &str) -> Result<Answer> {
        let mut stream = self.connect().await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        timeout(ANSWERED_WITHIN, stream.read_to_end(&mut answer)).await.context("no answer")??;
        let answer = String::from_utf8(answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end of its head")?;
        let status = head.split(' ').nth(1).context("an answer without a status")?.parse()?;
        Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// The metrics, which have to be well formed.
    ///
    /// # Errors
    /// Where they are not there, or something of them is not as Prometheus wants it.
    pub async fn metrics(&self) -> Result<Exposition> {
        let answer = self.ask("GET", "/metrics", "").await?;
        if answer.status != 200 {
            bail!("/metrics answered {answer:?}");
        }
        Exposition::parse(&answer.body)
    }

    /// The status of `/readyz`, and the checks that fail with their reasons.
    ///
    /// # Errors
    /// Where there is no answer, or another than is documented.
    pub async fn failing(&self) -> Result<(u16, Vec<(String, String)>)> {
        let answer = self.ask("GET", "/readyz", "").await?;
        let body: serde_json::Value = serde_json::from_str(&answer.body)?;
        let checks = body.get("checks").and_then(serde_json::Value::as_array).context("no checks")?;
        let failing = checks.iter().filter(|check| check["ok"] == false);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        Ok((answer.status, failing.map(|check| (text(&check["name"]), text(&check["why"]))).collect()))
    }
}
