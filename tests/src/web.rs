//! A small HTTP server of the tests' own, on a port of its own, which keeps what it was asked.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A server whose answer depends on the path: see [`Web::start`]. Dropping it closes all connections.
#[derive(Debug)]
pub struct Web {
    port: u16,
    seen: Arc<Seen>,
    _accepting: JoinSet<()>,
}

/// Requests and connections that came in.
#[derive(Debug, Default)]
struct Seen {
    requests: Mutex<Vec<String>>,
    connections: Mutex<usize>,
}

impl Web {
    /// Starts one. It answers
    ///
    /// * `/echo` with the method, the `host` header and the body,
    /// * `/never` never,
    /// * `/endless` with a body that does not end,
    /// * `/drip` with a body of which a byte comes each 100 ms,
    /// * `/head` with a megabyte of headers,
    /// * `/to?URL` with a redirect to there,
    /// * anything else with 404.
    ///
    /// # Errors
    /// Where no port is to be had.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Seen::default());
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&seen)));
        Ok(Self { port, seen, _accepting: accepting })
    }

    /// The URL of a path under this host name: `web.url("127.0.0.1", "/echo")`.
    #[must_use]
    pub fn url(&self, host: &str, path: &str) -> String {
        format!("{}{path}", self.origin(host))
    }

    /// Returns the origin as a manifest grants it.
    #[must_use]
    pub fn origin(&self, host: &str) -> String {
        format!("http://{host}:{}", self.port)
    }

    /// The method and path of each request so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts the connections that were opened so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.seen.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, seen: Arc<Seen>) {
    let mut serving = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        *seen.connections.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let seen = Arc::clone(&seen);
        serving.spawn(async move {
            // A client that goes away is no error of the server's.
            let _ended = serve(stream, &seen).await;
        });
    }
}

/// One request after another, until one has no end.
async fn serve(stream: TcpStream, seen: &Seen) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let (method, rest) = line.split_once(' ').context("no request")?;
        let (method, path) = (method.to_owned(), rest.split(' ').next().unwrap_or_default().to_owned());
        let (mut host, mut length) = (String::new(), 0);
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await?;
            match header.trim_end().split_once(": ") {
                Some(("host", value)) => host = value.to_owned(),
                Some(("content-length", value)) => length = value.parse()?,
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        seen.requests.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{method} {path}"));
        let echo = format!("{method} {host} {}", String::from_utf8_lossy(&body));
        answer(stream.get_mut(), &path, &echo).await?;
    }
}

async fn answer(stream: &mut TcpStream, path: &str, echo: &str) -> Result<()> {
    let (place, query) = path.split_once('?').unwrap_or((path, ""));
    let whole = match place {
        "/echo" => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{echo}", echo.len()),
        "/to" => format!("HTTP/1.1 302 Found\r\nlocation: {query}\r\ncontent-length: 0\r\n\r\n"),
        "/never" => return std::future::pending().await,
        "/endless" => return endless(stream, &[b'x'; 64 << 10], std::time::Duration::ZERO).await,
        "/drip" => return endless(stream, b"x", std::time::Duration::from_millis(100)).await,
        "/head" => format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(1 << 20)),
        _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
    };
    Ok(stream.write_all(whole.as_bytes()).await?)
}

async fn endless(stream: &mut TcpStream, piece: &[u8], pause: std::time::Duration) -> Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    loop {
        let size = format!("{:x}\r\n", piece.len());
        stream.write_all(&[size.as_bytes(), piece, b"\r\n"].concat()).await?;
        crate::passes(pause).await;
    }
}
