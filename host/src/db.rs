//! Postgres: the pool, its timeouts, what an error means, and the tables that are not inbox or outbox.

pub(crate) mod breakers;
mod conn;
pub(crate) mod dead_letters;
mod error;
mod guest_error;
mod guest_sql;
mod guest_values;
pub(crate) mod handlers;
pub(crate) mod handlers_list;
mod host_threads;
pub(crate) mod hosts;
pub(crate) mod lanes;
pub(crate) mod migrate;
pub(crate) mod offsets;
pub(crate) mod pauses;
mod pool;
pub(crate) mod reach;
pub(crate) mod retention;
mod roles;
pub(crate) mod rounds;
mod silence;
pub(crate) mod status;
#[cfg(test)]
pub(crate) mod twin;
mod tx;
pub(crate) mod wake;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use conn::Conn;
pub(crate) use error::{DbError, Meaning, Progress};
pub(crate) use guest_error::SqlError;
pub(crate) use guest_sql::{GuestTx, Table};
pub(crate) use guest_values::Value;
use host_threads::HostThreads;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgConnection};
pub(crate) use tx::{Single, Tx};

use crate::config;
use crate::outage::Outage;
use conn::Command;
use pool::{Limits, Pool};
use silence::Silence;

/// Under which name Postgres' notices are logged.
pub(crate) const NOTICES: &str = "sqlx::postgres::notice";

/// How long a command waits for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long the pools have to say goodbye.
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
    /// How the listener connects.
    listener: PgConnectOptions,
    /// Where it is, for people.
    place: String,
    /// What handlers with `sql` are logged in as.
    roles: roles::Roles,
    /// How long a command of the host's may take.
    limit: Duration,
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
        let limits = Limits { command: Some(postgres.limit), connect: CONNECT_LIMIT };
        Self::with(postgres, roles, limits, connections_max, postgres.of_host())
    }

    /// A command line's pool: its commands have no limit but the server's.
    ///
    /// # Errors
    /// Where the URL cannot be read.
    pub(crate) fn of_command(postgres: &config::Postgres) -> Result<Self, DbError> {
        let limits = Limits { command: None, connect: CONNECT_LIMIT };
        let timeouts = (postgres.statement_timeout, postgres.lock_timeout);
        Self::with(postgres, &BTreeMap::new(), limits, postgres.connections_max, timeouts)
    }

    fn with(
        postgres: &config::Postgres,
        roles: &BTreeMap<String, config::SqlRole>,
        limits: Limits,
        connections_max: u32,
        (statement_timeout, lock_timeout): (Duration, Duration),
    ) -> Result<Self, DbError> {
        let options: PgConnectOptions =
            postgres.url.expose().parse().map_err(DbError::new("reading postgres.url"))?;
        let options = options.application_name("mailroom");
        let place = reach::place(&options);
        let settings = settings(statement_timeout, lock_timeout, postgres.limit);
        let count = |connections: u32| usize::try_from(connections).unwrap_or(usize::MAX);
        let silence = Silence::new(place.clone(), postgres.limit, count(postgres.connections_max));
        let (silence, connections_max) = (Arc::new(silence), count(connections_max));
        let ours = Pool::new(options.clone(), settings.clone(), (limits, connections_max), &silence);
        let beat = Limits { command: Some(postgres.limit / 2), connect: postgres.limit.min(CONNECT_LIMIT) };
        let heartbeat = Pool::new(options.clone(), settings, (beat, 1), &silence).ungated();
        Ok(Self(Arc::new(Pools {
            ours: Arc::new(ours),
            heartbeat: Arc::new(heartbeat),
            listener: options,
            place,
            roles: roles::pools(roles)?,
            limit: postgres.limit,
        })))
    }

    /// For telling of outages of this database.
    pub(crate) fn outage(&self) -> Outage {
        Outage::of(format!("Postgres at {}", self.0.place))
    }

    /// How long a command of the host's may take.
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

    fn listener(&self) -> &PgConnectOptions {
        &self.0.listener
    }

    /// For a command that is not sent by the pool.
    fn watch(&self, doing: &'static str, lane: i32) -> conn::Watch {
        let command = Command { doing, lanes: Some(&[lane]) };
        conn::Watch::new(Arc::clone(self.0.ours.silence()), Some(self.0.limit), command)
    }

    fn threads(&self) -> &HostThreads {
        self.0.ours.threads()
    }

    fn role(&self, name: &str) -> Option<&PgPool> {
        self.0.roles.get(name)
    }

    /// Ends the pools, within a second: what is silent is left to itself.
    pub(crate) async fn close(&self) {
        let roles = futures_util::future::join_all(self.0.roles.values().map(PgPool::close));
        let all = async { tokio::join!(self.0.ours.close(), self.0.heartbeat.close(), roles) };
        if tokio::time::timeout(CLOSE_LIMIT, all).await.is_err() {
            tracing::debug!("Some connections to Postgres were left open: they do not answer");
        }
    }
}

/// Schemas in which functions and operators are found: in any other, somebody could create one that is a better match
/// for what a statement calls, and have it run as the host, as an operator or as whoever migrates.
pub(crate) const SEARCH_PATH: &str = "pg_catalog, pg_temp";

/// What is set on a new connection, after connecting: a pooler may refuse it in the startup packet.
fn settings(statement_timeout: Duration, lock_timeout: Duration, limit: Duration) -> [String; 2] {
    let [statement, lock, idle] = [statement_timeout, lock_timeout, limit].map(|limit| limit.as_millis());
    // A database's own defaults are for its applications: statements here are made for these.
    // Statements are planned once for any number of rows; their plans are held still by tests. Bounds are unknown to
    // such a plan, which would sort a whole backlog for one page of it.
    let needed = format!(
        "set statement_timeout = {statement}; set lock_timeout = {lock}; \
         set idle_in_transaction_session_timeout = {idle}; set plan_cache_mode = force_generic_plan; \
         set jit = off; set enable_sort = off; set search_path = {SEARCH_PATH}; \
         set default_transaction_isolation = 'read committed'; set default_transaction_read_only = off"
    );
    // Postgres lets go of us as soon as we let go of it.
    let known = format!("set tcp_user_timeout = {idle}; set client_connection_check_interval = '1s'");
    [needed, known]
}
