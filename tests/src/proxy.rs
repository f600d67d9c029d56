//! Stands between a host and its Postgres or Kafka, and freezes it at one kind of request: the request
//! is kept back from the server, or its reply from the host. The test sees at the proxy that the host
//! is there, and does then with it what it likes.
//!
//! It forwards whole requests, without changing a byte; only what the trap names is kept back, or refused as a broker
//! would that has lost its fellows.

mod kafka;
mod postgres;
mod requests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use requests::Requests;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Statement for Postgres whose text contains this.
    Statement(&'static str),
    /// Commit for Postgres of a transaction with such a statement in it.
    CommitAfter(&'static str),
    /// Records that Kafka is to store.
    Produce,
    /// Records for a topic of Kafka whose name ends so.
    ProduceTo(&'static str),
}

/// Kind of traffic that is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The request: the server never sees it.
    Request,
    /// The reply: the server has done what it was asked.
    Reply,
    /// The request and all that follows on its connection, which is silent from then on, whatever its ends do. This
    /// happens to the first connection that sends such a request, and to no other.
    Connection,
    /// Records for the one partition of a topic: the client is told at once, in the server's place, that too few
    /// replicas are in sync. What follows goes through.
    UnderReplicated,
}

type Trap = Option<(Request, Keep)>;

/// A proxy of one server. Dropping it closes all connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    control: Arc<Control>,
    _accepting: JoinSet<()>,
}

#[derive(Debug)]
struct Control {
    server: OnceLock<SocketAddr>,
    speaks: Speaks,
    trap: watch::Sender<Trap>,
    frozen: AtomicUsize,
    cuts: watch::Sender<u64>,
    /// Connections that were made.
    made: AtomicUsize,
    /// Number of these, the first ones, that are silent.
    silent: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Speaks {
    Postgres,
    Kafka,
}

impl Proxy {
    /// A proxy of a Postgres at `HOST:PORT`.
    ///
    /// # Errors
    /// Where no port is to be had, or the address is none.
    pub async fn of_postgres(server: &str) -> Result<Self> {
        let proxy = Self::listen(Speaks::Postgres).await?;
        proxy.stand_before(server)?;
        Ok(proxy)
    }

    /// A proxy of a Kafka that is still to start: it has to know where clients will come in.
    pub(crate) async fn of_kafka() -> Result<Self> {
        Self::listen(Speaks::Kafka).await
    }

    /// Says where the server is. Who connects before that is turned away.
    pub(crate) fn stand_before(&self, server: &str) -> Result<()> {
        let server = server.parse().with_context(|| format!("{server} is not an address and a port"))?;
        self.control.server.set(server).ok().context("the proxy has its server already")
    }

    async fn listen(speaks: Speaks) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let control = Arc::new(Control {
            server: OnceLock::new(),
            speaks,
            trap: watch::Sender::default(),
            frozen: AtomicUsize::new(0),
            cuts: watch::Sender::default(),
            made: AtomicUsize::new(0),
            silent: AtomicUsize::new(0),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&control)));
        Ok(Self { port, control, _accepting: accepting })
    }

    /// Returns the address to which the host connects: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Freezes every request of this kind from now on, on whatever connection, until [`Proxy::release`] or
    /// [`Proxy::cut`].
    pub fn freeze(&self, request: Request, keep: Keep) {
        self.control.frozen.store(0, Ordering::SeqCst);
        self.control.trap.send_replace(Some((request, keep)));
    }

    /// Counts the requests, or replies that the server has sent, that are kept back or were before the
    /// release.
    #[must_use]
    pub fn frozen(&self) -> usize {
        self.control.frozen.load(Ordering::SeqCst)
    }

    /// Lets everything through again, first what was kept back.
    pub fn release(&self) {
        self.control.trap.send_replace(None);
    }

    /// Silences the connections that there are: nothing passes on them in either direction, and neither end
    /// learns of it. New ones are served freely.
    pub fn silence(&self) {
        self.control.silent.store(self.connections(), Ordering::SeqCst);
    }

    /// The same for those that come as well.
    pub fn silence_for_ever(&self) {
        self.control.silent.store(usize::MAX, Ordering::SeqCst);
    }

    /// Counts the connections that were made.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.control.made.load(Ordering::SeqCst)
    }

    /// Closes all connections, and what was kept back is gone. New ones are served freely.
    pub fn cut(&self) {
        self.control.cuts.send_modify(|cuts| *cuts += 1);
        self.control.trap.send_replace(None);
    }
}

impl Control {
    fn requests(&self) -> Requests {
        match self.speaks {
            Speaks::Postgres => Requests::Postgres(postgres::Client::default()),
            Speaks::Kafka => Requests::Kafka,
        }
    }

    fn trap(&self) -> Trap {
        *self.trap.borrow()
    }

    /// Passes while the connection of this number is not silent.
    async fn pass(&self, connection: usize) {
        if connection < self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// Keeps the caller until the release.
    async fn keep_back(&self) {
        let mut trap = self.trap.subscribe();
        self.frozen.fetch_add(1, Ordering::SeqCst);
        // The sender lives as long as this reference to its owner.
        drop(trap.wait_for(Option::is_none).await);
    }
}

async fn accept(listener: TcpListener, control: Arc<Control>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(serve(client, Arc::clone(&control)));
        while connections.try_join_next().is_some() {}
    }
}

/// One connection, to its end. Errors are ends too: each side sees that the other is gone.
async fn serve(client: TcpStream, control: Arc<Control>) {
    let mut cuts = control.cuts.subscribe();
    let Some(server) = control.server.get() else { return };
    let Ok(server) = TcpStream::connect(server).await else { return };
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let through = Through {
        control: &control,
        number: control.made.fetch_add(1, Ordering::SeqCst),
        reply_is_kept: AtomicBool::new(false),
        is_silent: AtomicBool::new(false),
        client: Mutex::new(to_client),
    };
    tokio::select! {
        biased;
        _ = cuts.changed() => {}
        () = through.requests(from_client, to_server) => {}
        () = through.replies(from_server) => {}
    }
}

/// A connection through the proxy.
struct Through<'c> {
    control: &'c Control,
    number: usize,
    reply_is_kept: AtomicBool,
    is_silent: AtomicBool,
    client: Mutex<OwnedWriteHalf>,
}

impl Through<'_> {
    /// Ends where the client or the server has, unless the connection is silent: then nobody learns of it.
    async fn requests(&self, client: OwnedReadHalf, server: OwnedWriteHalf) {
        drop(self.forward_requests(client, server).await);
        self.pass().await;
    }

    async fn replies(&self, server: OwnedReadHalf) {
        drop(self.forward_replies(server).await);
        self.pass().await;
    }

    async fn pass(&self) {
        if self.is_silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.control.pass(self.number).await;
    }

    async fn forward_requests(&self, mut client: OwnedReadHalf, mut server: OwnedWriteHalf) -> Result<()> {
        let mut requests = self.control.requests();
        let mut read = Vec::new();
        while client.read_buf(&mut read).await? > 0 {
            while let Some(message) = requests.next(&mut read) {
                let trap = self.control.trap();
                let named = requests.see(&message, trap.map(|(request, _)| request));
                match trap.filter(|_| named) {
                    None => {}
                    Some((_, Keep::Request)) => self.control.keep_back().await,
                    Some((_, Keep::Reply)) => self.reply_is_kept.store(true, Ordering::SeqCst),
                    Some((_, Keep::UnderReplicated)) => {
                        self.control.frozen.fetch_add(1, Ordering::SeqCst);
                        self.client.lock().await.write_all(&kafka::too_few_replicas(&message)?).await?;
                        continue;
                    }
                    Some((_, Keep::Connection)) => {
                        self.control.trap.send_replace(None);
                        self.control.frozen.fetch_add(1, Ordering::SeqCst);
                        self.is_silent.store(true, Ordering::SeqCst);
                    }
                }
                self.pass().await;
                server.write_all(&message).await?;
            }
        }
        Ok(())
    }

    /// A client has taken all earlier replies when it sends the request whose reply is kept (librdkafka may
    /// not: the test then looks whether the record is stored).
    async fn forward_replies(&self, mut server: OwnedReadHalf) -> Result<()> {
        let mut read = Vec::new();
        while server.read_buf(&mut read).await? > 0 {
            if self.reply_is_kept.swap(false, Ordering::SeqCst) && self.control.trap().is_some() {
                self.control.keep_back().await;
            }
            self.pass().await;
            // Whole replies where another may have to come between.
            let whole = match self.control.speaks {
                Speaks::Postgres => read.len(),
                Speaks::Kafka => kafka::whole(&read),
            };
            self.client.lock().await.write_all(read.get(..whole).unwrap_or_default()).await?;
            read.drain(..whole);
        }
        Ok(())
    }
}
