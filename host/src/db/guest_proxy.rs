//! The way of guests' connections to Postgres. A guest decides how long a row or an error is, and the client takes
//! memory for as much as a message says of itself before it is read. So these connections lead through a proxy in this
//! process, which refuses a message that is too long in the server's place and closes the connection to the server.
//!
//! The client reaches the proxy through a Unix socket that takes connections of this process only, without TLS; what
//! the URL says of TLS holds between the proxy and the server. The host's own connections, whose statements and rows
//! are its own, go without.

mod messages;
mod server;

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::error::no_answer;
use super::guest_sql::TABLE_BYTES_MAX;
use super::host_threads::HostThreads;
use super::servers::{Servers, Target};
use crate::reminder::Reminder;
pub(crate) use messages::MessageFilter;
use messages::{TooLong, error_response};
use server::ServerStream;

/// Bytes that are read at once, each way.
const PAGE_BYTES: usize = 16 << 10;
/// A row is shorter than what the table counts for it, so a longer one would be refused in any case.
const MESSAGE_BYTES_MAX: usize = TABLE_BYTES_MAX;
/// The client adds it to the socket's name.
const PORT: u16 = 5432;
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longest time that a server may leave a page of a statement unread. Nobody may be waiting any more, which
/// is seen at the statement's end only.
const UNREAD_LIMIT: Duration = Duration::from_secs(60);
/// Time for which nobody is let in where the process has no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// SQLSTATE program_limit_exceeded.
const TOO_MUCH: &str = "54000";
/// SQLSTATE sqlclient_unable_to_establish_sqlconnection.
const UNREACHABLE: &str = "08001";
/// SQLSTATE cannot_connect_now, after which the pool tries again as it does where nobody listens.
const NOT_NOW: &str = "57P03";

/// The proxy's end for the client.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    socket: PathBuf,
}

impl Entrance {
    /// Opens an entrance of its own.
    pub(super) fn open() -> io::Result<(Self, UnixListener)> {
        let socket = socket()?;
        let listener = UnixListener::bind(format!("{}/.s.PGSQL.{PORT}", socket.display()))?;
        Ok((Self { socket }, listener))
    }

    /// Has a connection with the options begin here.
    pub(super) fn before(&self, options: PgConnectOptions) -> PgConnectOptions {
        options.socket(&self.socket).port(PORT).ssl_mode(PgSslMode::Disable)
    }
}

/// A name without a file: a killed host would leave one behind, and not every system has a place for it.
#[cfg(target_os = "linux")]
fn socket() -> io::Result<PathBuf> {
    Ok(PathBuf::from(format!("\0mailroom-{}", uuid::Uuid::new_v4().simple())))
}

/// A folder of its own.
#[cfg(not(target_os = "linux"))]
fn socket() -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;

    let folder = std::env::temp_dir().join(format!("mailroom-{:x}", fastrand::u64(..)));
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}

/// Takes connections and leads each to the server that is chosen then.
pub(super) async fn serve(listener: UnixListener, servers: Arc<Servers>, threads: HostThreads) {
    let mut refused = Reminder::default();
    loop {
        match listener.accept().await {
            Ok((client, _)) if is_ours(&client) => threads.detach(lead(client, servers.target())),
            Ok(_) if refused.is_due(Instant::now()) => {
                tracing::warn!("A connection of another process to that of a handler's SQL is refused");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "A connection of a handler's SQL is not taken yet");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Tells whether this process made the connection: with a client's certificate in the URL, others could use
/// it.
fn is_ours(client: &UnixStream) -> bool {
    let maker = client.peer_cred().ok().and_then(|credentials| credentials.pid());
    maker.and_then(|pid| u32::try_from(pid).ok()) == Some(std::process::id())
}

async fn lead(mut client: UnixStream, target: Target) {
    let connected = timeout(CONNECT_LIMIT, ServerStream::connect(&target)).await;
    let last_words = match connected.unwrap_or_else(|_| Err(no_answer(CONNECT_LIMIT))) {
        Ok(server) => match pass(&mut client, server).await {
            End::Client => return,
            End::Server => Vec::new(),
            End::TooLong(too_long) => error_response(TOO_MUCH, &too_long.message()),
        },
        Err(error) => {
            let refused =
                matches!(&error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused);
            error_response(if refused { NOT_NOW } else { UNREACHABLE }, &error.to_string())
        }
    };
    // Whoever is gone needs no words.
    drop(part(client, &last_words).await);
}

/// End of a connection.
enum End {
    /// The client is gone.
    Client,
    /// The server closed it, or does not read any more.
    Server,
    /// The server began a message that the client may not have.
    TooLong(TooLong),
}

/// Passes both ways, in one task, as what is sent by TLS needs.
async fn pass(client: &mut UnixStream, server: ServerStream) -> End {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = tokio::io::split(server);
    let mut answers = pin!(answers(from_server, to_client));
    tokio::select! {
        sent = statements(from_client, to_server) => match sent {
            Ok(()) => End::Client,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => End::Server,
            // Before it closed, the server may have said why.
            Err(_) => answers.await,
        },
        end = &mut answers => end,
    }
}

/// Ends where the client is gone; an error is the server's.
async fn statements(
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut page = vec![0; PAGE_BYTES];
    loop {
        // A client that closes with an answer unread is an error here.
        let count = client.read(&mut page).await.unwrap_or_default();
        let Some(read @ [_, ..]) = page.get(..count) else { return Ok(()) };
        timeout(UNREAD_LIMIT, server.write_all(read)).await??;
    }
}

async fn answers(mut server: impl AsyncRead + Unpin, mut client: impl AsyncWrite + Unpin) -> End {
    let (mut page, mut passed) = (vec![0; PAGE_BYTES], Vec::with_capacity(PAGE_BYTES));
    let mut filter = MessageFilter::new(MESSAGE_BYTES_MAX);
    loop {
        let count = server.read(&mut page).await.unwrap_or_default();
        let Some(read @ [_, ..]) = page.get(..count) else { return End::Server };
        passed.clear();
        let filtered = filter.pass(read, &mut passed);
        if client.write_all(&passed).await.is_err() {
            return End::Client;
        }
        if let Err(too_long) = filtered {
            return End::TooLong(too_long);
        }
    }
}

/// Says the last words and waits for the client to close. It may be sending, and would not hear them where its statement
/// is not taken.
async fn part(mut client: UnixStream, last_words: &[u8]) -> io::Result<()> {
    client.write_all(last_words).await?;
    client.shutdown().await?;
    tokio::io::copy(&mut client, &mut tokio::io::sink()).await.map(drop)
}
