//! The roles that handlers with `sql` are logged in as, each with a pool of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, PgConnection, Postgres};

use super::DbError;
use super::error::no_answer;
use super::servers::Servers;
use super::session::refuse_standby;
use crate::config::SqlRole;

/// How long a wipe may take.
const WIPED_WITHIN: Duration = Duration::from_secs(1);

/// By the name that manifests grant.
pub(super) type Roles = BTreeMap<String, Role>;

/// A role's pool, and how its database is reached.
#[derive(Debug)]
pub(super) struct Role {
    pool: PgPool,
    servers: Servers,
    refused: Refused,
}

/// Why the role's newest connection is not used. The pool itself would try again until its time is over, with an error
/// in the log for each try.
type Refused = Arc<Mutex<Option<String>>>;

/// Pools that connect when they are first used.
pub(super) fn pools(roles: &BTreeMap<String, SqlRole>) -> Result<Roles, DbError> {
    roles.iter().map(|(name, role)| Ok((name.clone(), Role::new(name, role)?))).collect()
}

impl Role {
    fn new(name: &str, role: &SqlRole) -> Result<Self, DbError> {
        let servers = Servers::new(&role.url, format!("sql.{name}.url"), "mailroom sql")?;
        let refused = Refused::default();
        let of_newest = Arc::clone(&refused);
        let pool = PgPoolOptions::new()
            .min_connections(0)
            .max_connections(role.connections_max)
            .acquire_timeout(Duration::from_secs(5))
            .after_connect(move |connection, _| judge(connection, Arc::clone(&of_newest)))
            // What a guest set, listened to, locked or prepared goes no further than its call.
            .after_release(|connection, _| Box::pin(wipe(connection)))
            .connect_lazy_with(of_guests(servers.chosen()));
        Ok(Self { pool, servers, refused })
    }

    /// Waits for a connection of the pool.
    pub(super) fn acquire(
        &self,
    ) -> impl Future<Output = Result<PoolConnection<Postgres>, sqlx::Error>> + Send + 'static {
        let (acquired, refused) = (self.pool.acquire(), Arc::clone(&self.refused));
        async move {
            let connection = acquired.await?;
            let why = refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(why) = why else { return Ok(connection) };
            connection.close().await?;
            Err(sqlx::Error::Configuration(why.into()))
        }
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Has the next connection made to another server, or as the URL's file says by now; gives whether that says
    /// something new.
    pub(super) fn choose_next(&self) -> bool {
        let is_new = self.servers.choose_next();
        self.pool.set_connect_options(of_guests(self.servers.chosen()));
        is_new
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Guests' statements are prepared once each, since whoever wrote them is not trusted with the cache. Slow ones are not
/// logged: a guest's words, and what is in them, are not for the log.
fn of_guests(options: PgConnectOptions) -> PgConnectOptions {
    options.statement_cache_capacity(0).disable_statement_logging()
}

/// Wipes a session for the next call; one that does not answer is dropped.
async fn wipe(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(WIPED_WITHIN, connection.execute("discard all")).await {
        Ok(wiped) => wiped.map(|_| true),
        Err(_) => Err(no_answer(WIPED_WITHIN)),
    }
}

/// Looks at a new connection and notes what keeps it from being used; only an outage is the pool's to wait for.
fn judge(connection: &mut PgConnection, refused: Refused) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    Box::pin(async move {
        let why = match refuse_powerful(connection).await {
            Err(error @ (sqlx::Error::Configuration(_) | sqlx::Error::Database(_))) => {
                Some(error.to_string())
            }
            Err(error) => return Err(error),
            Ok(()) => None,
        };
        *refused.lock().unwrap_or_else(PoisonError::into_inner) = why;
        Ok(())
    })
}

/// A role that could become another, or read what fences the lanes, would let its guest out; on a standby it can settle
/// nothing.
fn refuse_powerful(connection: &mut PgConnection) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    Box::pin(async move {
        refuse_standby(connection).await?;
        let problem = sqlx::query_file_scalar!("src/db/roles_check.sql").fetch_one(connection).await?;
        problem.map_or(Ok(()), |problem| Err(sqlx::Error::Configuration(problem.into())))
    })
}
