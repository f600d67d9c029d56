//! Every route by every role and token, and clients that hold a connection up.

mod rights;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::server::{CONNECTION_WITHIN, CONNECTIONS_MAX, HEAD_WITHIN};
use super::*;
use crate::config::{Config, WorkerName};
use crate::db::Db;
use crate::server_health::ServerHealth;

/// Time that no answer takes.
const HANGS: Duration = Duration::from_secs(60);

/// Settings with servers that are away.
fn config(lines: &str) -> Config {
    let file = std::env::temp_dir().join(format!("mailroom-admin-{:x}.toml", fastrand::u64(..)));
    let servers = "[postgres]\nurl = \"postgres://u:p@127.0.0.1:1/d\"\n[kafka]\nbrokers = \"127.0.0.1:1\"\n";
    std::fs::write(&file, format!("{servers}{lines}")).unwrap();
    let config = Config::load(Some(&file), std::iter::empty());
    std::fs::remove_file(&file).unwrap();
    config.unwrap()
}

/// Serves while `body` runs, with these lines of a configuration; gives the metrics that are served.
async fn served(lines: &str, body: impl AsyncFnOnce(SocketAddr, Metrics)) {
    let metrics = Metrics::new(&WorkerName::parse("a").unwrap()).unwrap();
    let (health, stop) = (ServerHealth::default(), CancellationToken::new());
    let config = Arc::new(config(lines));
    let db = Db::new(&config.postgres, &config.sql).unwrap();
    let readable = Readable {
        metrics: metrics.clone(),
        readiness: Readiness::new(health.clone(), health, stop.clone()),
        pulse: Pulse::default(),
        backend: Backend::new(db, Arc::clone(&config), None),
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = routes::routes(readable, Access::new(&config.admin));
    tokio::select! {
        () = server::serve(listener, routes, stop) => panic!("the server ended"),
        () = body(address, metrics) => {}
    }
}

async fn answer(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

/// Everything up to the end of the connection, whoever ends it and however.
async fn rest(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    drop(timeout(HANGS, stream.read_to_end(&mut read)).await.unwrap());
    String::from_utf8(read).unwrap()
}

async fn status(address: SocketAddr, path: &str, head: &str) -> u16 {
    let answer = answer(address, &format!("GET {path} HTTP/1.1\r\n{head}\r\n")).await;
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_client_that_sends_nothing_or_reads_nothing_is_left_by_its_time_and_others_are_answered() {
    served("", async |address, metrics| {
        // More than the system takes for a client that does not read.
        let worker = crate::metrics::tests::idle_handler();
        let mut many = metrics.of_ingest(&worker);
        (0..1900).for_each(|topic| many.consumed(&format!("{topic:0>4000}").into()));
        let began = Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut unread = socket.connect(address).await.unwrap();
        unread.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();

        let whole = answer(address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(
            whole.ends_with('\n') && began.elapsed() < CONNECTION_WITHIN,
            "others are answered meanwhile"
        );
        rest(&mut silent).await;
        assert!(began.elapsed() >= HEAD_WITHIN, "the silent one had its time");
        // It reads once the time of its connection is over: a later silent one's was until then.
        let mut later = TcpStream::connect(address).await.unwrap();
        rest(&mut later).await;
        let mut last = TcpStream::connect(address).await.unwrap();
        rest(&mut last).await;
        assert!(began.elapsed() > CONNECTION_WITHIN);
        let part = rest(&mut unread).await;
        assert!(part.len() < whole.len(), "{} of {} bytes were written", part.len(), whole.len());
    })
    .await;
}

#[tokio::test]
async fn one_connection_more_than_are_allowed_ends_the_oldest() {
    served("", async |address, _| {
        let mut held = Vec::new();
        for _ in 0..=CONNECTIONS_MAX {
            held.push(TcpStream::connect(address).await.unwrap());
        }
        let began = Instant::now();
        rest(held.first_mut().unwrap()).await;
        assert!(began.elapsed() < HEAD_WITHIN, "it was ended for want of places");
        assert_eq!(status(address, "/livez", "Host: localhost\r\n").await, 200);
        let mut newest = held.pop().unwrap();
        newest.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert!(rest(&mut newest).await.contains("200 OK"), "the newest were kept");
    })
    .await;
}
