//! Postgres: the pool, its timeouts, what an error means, and the tables that are not inbox or outbox.

pub(crate) mod audit;
pub(crate) mod breakers;
mod conn;
pub(crate) mod dead_letters;
pub(crate) mod doctor;
mod error;
mod guest_error;
mod guest_proxy;
mod guest_sql;
mod guest_values;
pub(crate) mod handlers;
pub(crate) mod handlers_list;
mod host_threads;
pub(crate) mod hosts;
pub(crate) mod lanes;
mod meaning;
pub(crate) mod migrate;
pub(crate) mod offsets;
pub(crate) mod pauses;
mod pool;
mod pooler;
pub(crate) mod reach;
pub(crate) mod retention;
mod roles;
pub(crate) mod rounds;
mod sender;
pub(crate) mod sequences;
mod servers;
mod session;
mod silence;
pub(crate) mod status;
#[cfg(test)]
pub(crate) mod twin;
mod tx;
pub(crate) mod wake;
pub(crate) mod why;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use conn::Conn;
pub(crate) use error::{DbError, Progress};
pub(crate) use guest_error::SqlError;
#[cfg(test)]
pub(crate) use guest_proxy::MessageFilter;
pub(crate) use guest_sql::{GuestTx, Table};
pub(crate) use guest_values::Value;
use host_threads::HostThreads;
pub(crate) use meaning::Meaning;
pub(crate) use roles::make_sql_role;
use servers::Servers;
use session::Session;
use sqlx::postgres::PgConnection;
pub(crate) use tx::{Single, Tx};

use crate::config::{self, PoolMode};
use crate::outage::{Outage, Spoken};
use crate::server_health::ServerHealth;
use crate::waits::Waits;
use conn::Command;
use pool::{Limits, Pool, Usage};
use silence::Silence;

/// Name under which Postgres' notices are logged.
pub(crate) const NOTICES: &str = "sqlx::postgres::notice";

/// Name of our sessions in Postgres, unless the URL has one.
const APPLICATION: &str = "mailroom";
/// Longest time that a command waits for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Time that the pools have to say goodbye.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// A command by which nothing is believed of a lane: nothing is said of it while it waits.
const READING: Command<'_> = Command { doing: "reading", lanes: None };

/// The host's connections.
#[derive(Debug, Clone)]
pub(crate) struct Db(Arc<Pools>);

#[derive(Debug)]
struct Pools {
    ours: Arc<Pool>,
    /// One connection, which waits for no other command.
    heartbeat: Arc<Pool>,
    servers: Arc<Servers>,
    /// Servers at which one may listen; none where only a pooler in transaction mode is known.
    listener: Option<Arc<Servers>>,
    mode: PoolMode,
    /// Address of the database, for people.
    place: String,
    /// Roles as which handlers with `sql` are logged in.
    roles: roles::Roles,
    /// Longest time that a command of the host's may take.
    limit: Duration,
    /// Outages that its loops have logged.
    spoken: Spoken,
    /// Waits of this process, as its row in Postgres shows them.
    waits: Waits,
    /// Health of the server.
    health: ServerHealth,
}

impl Db {
    /// A host's pools, which connect when they are first used: Postgres may be away. `roles` are those that manifests
    /// may grant. Each command has the limit that the configuration gives a host.
    ///
    /// # Errors
    /// Where a URL cannot be read.
    pub(crate) fn new(
        postgres: &config::Postgres,
        roles: &BTreeMap<String, config::SqlRole>,
    ) -> Result<Self, DbError> {
        // The heartbeat's and the listener's are within what is allowed.
        let connections_max = postgres.connections_max.saturating_sub(2).max(1);
        let limits = Limits { command: postgres.limit, connect: CONNECT_LIMIT };
        Self::with(postgres, roles, limits, connections_max, postgres.of_host())
    }

    /// A command line's pool. What it asks in one go takes as long as several statements may, and not for ever: the
    /// connection may be dead.
    ///
    /// # Errors
    /// Where the URL cannot be read.
    pub(crate) fn of_command(postgres: &config::Postgres) -> Result<Self, DbError> {
        let command = CONNECT_LIMIT + 10 * postgres.statement_timeout;
        let limits = Limits { command, connect: CONNECT_LIMIT };
        let timeouts = (postgres.statement_timeout, postgres.lock_timeout);
        Self::with(postgres, &BTreeMap::new(), limits, postgres.connections_max, timeouts)
    }

    fn with(
        postgres: &config::Postgres,
        roles: &BTreeMap<String, config::SqlRole>,
        limits: Limits,
        connections_max: u32,
        timeouts: (Duration, Duration),
    ) -> Result<Self, DbError> {
        let servers = Arc::new(Servers::new(&postgres.url, "postgres.url", APPLICATION)?);
        let direct = postgres.direct_url.as_ref();
        let direct = direct.map(|url| Servers::new(url, "postgres.direct-url", APPLICATION).map(Arc::new));
        let listener = match (direct.transpose()?, postgres.pool_mode) {
            (Some(direct), _) => Some(direct),
            (None, PoolMode::Session) => Some(Arc::clone(&servers)),
            (None, PoolMode::Transaction) => None,
        };
        let place = servers.place();
        let session = Session::new(postgres.pool_mode, timeouts, postgres.limit);
        let count = |connections: u32| usize::try_from(connections).unwrap_or(usize::MAX);
        let silence = Silence::new(place.clone(), postgres.limit, count(postgres.connections_max));
        let (silence, connections_max) = (Arc::new(silence), count(connections_max));
        let ours = Pool::new(Arc::clone(&servers), session.clone(), (limits, connections_max), &silence);
        let beat = Limits { command: postgres.limit / 2, connect: postgres.limit.min(CONNECT_LIMIT) };
        let heartbeat = Pool::new(Arc::clone(&servers), session, (beat, 1), &silence).ungated();
        Ok(Self(Arc::new(Pools {
            ours: Arc::new(ours),
            heartbeat: Arc::new(heartbeat),
            servers,
            listener,
            mode: postgres.pool_mode,
            place,
            roles: roles::pools(roles)?,
            limit: postgres.limit,
            spoken: Spoken::default(),
            waits: Waits::default(),
            health: ServerHealth::default(),
        })))
    }

    /// Makes the record of this database's outages that one loop keeps.
    pub(crate) fn outage(&self) -> Outage {
        Outage::shared(format!("Postgres at {}", self.0.place), self.0.spoken.clone(), self.waits())
    }

    /// Returns the waits of this process, as its row in Postgres shows them.
    pub(crate) fn waits(&self) -> Waits {
        self.0.waits.clone()
    }

    /// Returns whether it answers, as the loop knows that looks at it all the time.
    pub(crate) fn health(&self) -> ServerHealth {
        self.0.health.clone()
    }

    /// Counts the connections of the host's commands.
    pub(crate) fn usage(&self) -> Usage {
        self.0.ours.usage()
    }

    /// Returns how long a command of the host's may take.
    pub(crate) fn limit(&self) -> Duration {
        self.0.limit
    }

    /// Runs single statements.
    pub(crate) fn pool(&self) -> Single<'_> {
        Single { pool: &self.0.ours, command: READING }
    }

    /// Runs a single statement by which the host believes something of lanes.
    pub(crate) fn about<'d>(&'d self, doing: &'static str, lanes: &'d [i32]) -> Single<'d> {
        Single { pool: &self.0.ours, command: Command { doing, lanes: Some(lanes) } }
    }

    /// Runs the statements of the heartbeat, on its own connection and in half of the time.
    pub(crate) fn heartbeat(&self) -> Single<'_> {
        Single { pool: &self.0.heartbeat, command: READING }
    }

    /// A connection for a statement whose rows are taken one by one.
    pub(crate) async fn conn(&self, doing: &'static str) -> Result<Conn, DbError> {
        let conn = self.0.ours.acquire(Command { doing, lanes: None }).await;
        conn.map_err(error::tag(Progress::NotSent)).map_err(DbError::new(doing))
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self, doing: &'static str) -> Result<Tx, DbError> {
        Tx::begin(&self.0.ours, Command { doing, lanes: None }).await
    }

    /// Begins a transaction by which the host believes something of these lanes.
    pub(crate) async fn begin_about(
        &self,
        doing: &'static str,
        lanes: impl Iterator<Item = i32>,
    ) -> Result<Tx, DbError> {
        let lanes: Vec<i32> = lanes.collect();
        Tx::begin(&self.0.ours, Command { doing, lanes: Some(&lanes) }).await
    }

    /// Connects beside the pool, without a limit.
    pub(crate) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        self.0.ours.connect().await
    }

    /// Tells whether wake-ups can be heard.
    pub(crate) fn can_listen(&self) -> bool {
        self.0.listener.is_some()
    }

    fn listener(&self) -> Option<&Arc<Servers>> {
        self.0.listener.as_ref()
    }

    /// Finds the address at which a pooler in transaction mode is met though none was declared, or where
    /// guests' sessions need another.
    pub(crate) async fn unsaid_pooler(&self) -> Result<Option<String>, DbError> {
        let declared = self.0.mode == PoolMode::Transaction;
        if !declared && pooler::is_in_transaction_mode(&self.0.servers).await? {
            return Ok(Some(self.0.place.clone()));
        }
        let found = self.0.roles.values().map(async |role| {
            // A role that cannot connect is said by the calls that want it.
            let found = pooler::is_in_transaction_mode(role.servers()).await.unwrap_or(false);
            found.then(|| role.servers().place())
        });
        Ok(futures_util::future::join_all(found).await.into_iter().flatten().next())
    }

    /// Watches a command that is not sent by the pool.
    fn watch(&self, doing: &'static str, lane: i32) -> conn::Watch {
        let command = Command { doing, lanes: Some(&[lane]) };
        conn::Watch::new(Arc::clone(self.0.ours.silence()), self.0.limit, command)
    }

    fn threads(&self) -> &HostThreads {
        self.0.ours.threads()
    }

    fn role(&self, name: &str) -> Option<&roles::Role> {
        self.0.roles.get(name)
    }

    /// Ends the pools, within a second: what is silent is left to itself.
    pub(crate) async fn close(&self) {
        let roles = futures_util::future::join_all(self.0.roles.values().map(roles::Role::close));
        let all = async { tokio::join!(self.0.ours.close(), self.0.heartbeat.close(), roles) };
        if tokio::time::timeout(CLOSE_LIMIT, all).await.is_err() {
            tracing::debug!("Some connections to Postgres were left open: they do not answer");
        }
    }
}

/// Schemas in which functions and operators are found: in any other, somebody could create one that is a better match
/// for what a statement calls, and have it run as the host, as an operator or as whoever migrates.
pub(crate) const SEARCH_PATH: &str = "pg_catalog, pg_temp";
