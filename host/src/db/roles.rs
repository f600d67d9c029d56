//! The roles that handlers with `sql` are logged in as, each with a pool of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, Postgres};

use super::error::no_answer;
use super::guest_proxy::{self, Entrance};
use super::host_threads::HostThreads;
use super::servers::Servers;
use super::session::refuse_standby;
use super::{Db, DbError};
use crate::config::SqlRole;

/// Longest time that a wipe may take.
const WIPED_WITHIN: Duration = Duration::from_secs(1);

/// Roles by the name that manifests grant.
pub(super) type Roles = BTreeMap<String, Role>;

/// A role's pool, and how its database is reached.
#[derive(Debug)]
pub(super) struct Role {
    pool: PgPool,
    servers: Arc<Servers>,
    entrance: Entrance,
    refused: Refused,
}

/// Reason why the role's newest connection is not used. The pool itself would try again until its time is
/// over, with an error in the log for each try.
type Refused = Arc<Mutex<Option<String>>>;

/// Pools that connect when they are first used.
pub(super) fn pools(roles: &BTreeMap<String, SqlRole>) -> Result<Roles, DbError> {
    roles.iter().map(|(name, role)| Ok((name.clone(), Role::new(name, role)?))).collect()
}

/// Makes a role that SQL of handlers can run as, or gives the one that there is this password. It has what the host needs
/// of it, and no table.
///
/// # Errors
/// What Postgres says.
pub(crate) async fn make_sql_role(db: &Db, name: &str, password: &str) -> Result<(), DbError> {
    let doing = || DbError::new("making a role for SQL");
    let statements = sqlx::query_scalar!(
        r#"select format(statement, $1::text, $2::text) as "statement!"
             from unnest(array[
                 case when exists (select from pg_roles where rolname = $1) then 'alter' else 'create' end
                     || ' role %1$I login password %2$L',
                 'grant usage on schema mailroom to %1$I',
                 'grant execute on function mailroom.settle_with_sql to %1$I']) statement"#,
        name,
        password,
    );
    let statements = statements.fetch_all(db.pool()).await.map_err(doing())?;
    let statements = AssertSqlSafe(statements.join("; "));
    sqlx::raw_sql(statements).execute(db.pool()).await.map_err(doing())?;
    Ok(())
}

impl Role {
    fn new(name: &str, role: &SqlRole) -> Result<Self, DbError> {
        let servers = Arc::new(Servers::new(&role.url, format!("sql.{name}.url"), "mailroom sql")?);
        let (entrance, listener) = Entrance::open()
            .map_err(sqlx::Error::Io)
            .map_err(DbError::new("opening a Unix socket for handlers' SQL"))?;
        let refused = Refused::default();
        let of_newest = Arc::clone(&refused);
        let pool = PgPoolOptions::new()
            .min_connections(0)
            .max_connections(role.connections_max)
            .acquire_timeout(Duration::from_secs(5))
            .after_connect(move |connection, _| judge(connection, Arc::clone(&of_newest)))
            // What a guest set, listened to, locked or prepared goes no further than its call.
            .after_release(|connection, _| Box::pin(wipe(connection)))
            .connect_lazy_with(entrance.before(of_guests(servers.chosen())));
        let mut closing = pool.close_event();
        let threads = HostThreads::current();
        let serving = guest_proxy::serve(listener, Arc::clone(&servers), threads.clone());
        threads.detach(async move { drop(closing.do_until(serving).await) });
        Ok(Self { pool, servers, entrance, refused })
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
        self.pool.set_connect_options(self.entrance.before(of_guests(self.servers.chosen())));
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

/// Says why the role that `db` is logged in as must not run a guest's SQL.
pub(super) async fn refusal(db: &Db) -> Result<Option<String>, DbError> {
    sqlx::query_file_scalar!("src/db/roles_check.sql")
        .fetch_one(db.pool())
        .await
        .map_err(DbError::new("looking at a role's powers"))
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
