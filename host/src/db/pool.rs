//! The host's own connections: so many at most, one command at a time on each.
//!
//! sqlx's pool asks every connection that comes back whether it is still there, and waits for the answer without a
//! limit: one that went silent would keep its place for ever. Here what is in doubt is dropped, and what comes back
//! clean is asked only after it was idle.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::conn::{Command, Conn};
use super::host_threads::HostThreads;
use super::servers::Servers;
use super::session::Session;
use super::silence::Silence;

/// Idle time after which a connection is asked whether it is still there, and the limit of that.
const ASKED_AFTER: Duration = Duration::from_secs(1);
const ASKED_FOR: Duration = Duration::from_secs(1);
/// Idle time after which a connection gives back the memory of its last commands.
const SHRUNK_AFTER: Duration = Duration::from_secs(1);
/// Idle time after which a connection is dropped.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// Age above which a connection is not kept: servers behind a name change.
const AGE_MAX: Duration = Duration::from_secs(1800);

/// Limits of a pool's commands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// All statements of a command together.
    pub(super) command: Duration,
    /// Limit until a command has its connection.
    pub(super) connect: Duration,
}

/// Numbers of a pool's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Connections that commands have or are about to get.
    pub(crate) used: usize,
    /// Connections that wait for a command.
    pub(crate) idle: usize,
    /// Connections that there may be.
    pub(crate) max: usize,
}

/// Connections to one database as one role.
#[derive(Debug)]
pub(super) struct Pool {
    servers: Arc<Servers>,
    session: Session,
    limits: Limits,
    places: Arc<Semaphore>,
    connections_max: usize,
    /// Clean connections, the one that was used last at the end.
    idle: Mutex<Vec<(Live, Instant)>>,
    silence: Arc<Silence>,
    /// True if nothing but probes is sent while Postgres does not answer.
    gated: bool,
    threads: HostThreads,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) connection: PgConnection,
    made_at: Instant,
    /// True if its buffers may be as large as the largest command that it had.
    may_be_large: bool,
}

impl Live {
    fn shrink(&mut self) {
        if std::mem::take(&mut self.may_be_large) {
            self.connection.shrink_buffers();
        }
    }
}

impl Pool {
    pub(super) fn new(
        servers: Arc<Servers>,
        session: Session,
        (limits, connections_max): (Limits, usize),
        silence: &Arc<Silence>,
    ) -> Self {
        Self {
            servers,
            session,
            limits,
            places: Arc::new(Semaphore::new(connections_max)),
            connections_max,
            idle: Mutex::default(),
            silence: Arc::clone(silence),
            gated: true,
            threads: HostThreads::current(),
        }
    }

    /// Takes the gate away: what is sent on this pool is rare and commits, and so tells whether Postgres answers again.
    pub(super) fn ungated(self) -> Self {
        Self { gated: false, ..self }
    }

    /// Tells whether an answer on it shows that Postgres commits.
    pub(super) fn is_probe(&self) -> bool {
        !self.gated
    }

    /// Counts the connections.
    pub(super) fn usage(&self) -> Usage {
        let used = self.connections_max.saturating_sub(self.places.available_permits());
        Usage { used, idle: self.idle().len(), max: self.connections_max }
    }

    pub(super) fn silence(&self) -> &Arc<Silence> {
        &self.silence
    }

    pub(super) fn threads(&self) -> &HostThreads {
        &self.threads
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn limit(&self) -> Duration {
        self.limits.command
    }

    /// Gives a connection to a command.
    ///
    /// # Errors
    /// Where there is none within the limit: nothing was sent then.
    pub(super) async fn acquire(self: &Arc<Self>, command: Command<'_>) -> Result<Conn, sqlx::Error> {
        let held = timeout(self.limits.connect, self.hold()).await;
        Ok(Conn::new(held.map_err(|_| sqlx::Error::PoolTimedOut)??, self, command))
    }

    async fn hold(&self) -> Result<(Live, OwnedSemaphorePermit), sqlx::Error> {
        let closed = |_| sqlx::Error::PoolClosed;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(closed)?;
        while self.gated
            && let Err(at) = self.silence.admit(Instant::now())
        {
            sleep_until(at).await;
        }
        loop {
            let Some((mut live, since)) = self.idle().pop() else { break };
            live.may_be_large = true;
            if since.elapsed() < ASKED_AFTER {
                return Ok((live, place));
            }
            match timeout(ASKED_FOR, live.connection.ping()).await {
                Ok(Ok(())) => return Ok((live, place)),
                Ok(Err(_)) | Err(_) => self.distrust_idle(),
            }
        }
        let connection = self.connect().await?;
        Ok((Live { connection, made_at: Instant::now(), may_be_large: true }, place))
    }

    /// Makes a connection of nobody's, with the same settings; its statements have no limit.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let (servers, session, limit) =
            (Arc::clone(&self.servers), self.session.clone(), self.limits.connect);
        let connecting =
            async move { servers.connect(limit, |options| session.clone().connect(options)).await };
        self.threads.connect(connecting).await
    }

    /// No code that can panic runs under it.
    fn idle(&self) -> MutexGuard<'_, Vec<(Live, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection that a command left clean.
    pub(super) fn give_back(&self, live: Live) {
        if self.places.is_closed() || live.made_at.elapsed() > AGE_MAX {
            return;
        }
        let mut idle = self.idle();
        let old = idle.iter().take_while(|(_, since)| since.elapsed() > IDLE_MAX).count();
        idle.drain(..old);
        let at_rest = idle.iter_mut().filter(|(_, since)| since.elapsed() > SHRUNK_AFTER);
        at_rest.for_each(|(live, _)| live.shrink());
        idle.push((live, Instant::now()));
    }

    /// Drops those that are idle: one that was used is gone or silent, and so may they be.
    pub(super) fn distrust_idle(&self) {
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
    }

    /// Gives no connection any more, and says goodbye on those that are idle.
    pub(super) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut *self.idle());
        let goodbyes = idle.into_iter().map(|(live, _)| live.connection.close());
        futures_util::future::join_all(goodbyes).await;
    }
}
