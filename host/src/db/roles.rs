//! The roles that handlers with `sql` are logged in as, each with a pool of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, PgConnection};

use super::DbError;
use super::error::no_answer;
use crate::config::SqlRole;

/// How long a wipe may take.
const WIPED_WITHIN: Duration = Duration::from_secs(1);

/// By the name that manifests grant.
pub(super) type Roles = BTreeMap<String, PgPool>;

/// Pools that connect when they are first used.
pub(super) fn pools(roles: &BTreeMap<String, SqlRole>) -> Result<Roles, DbError> {
    roles.iter().map(|(name, role)| Ok((name.clone(), pool(role)?))).collect()
}

fn pool(role: &SqlRole) -> Result<PgPool, DbError> {
    let options: PgConnectOptions =
        role.url.expose().parse().map_err(DbError::new("reading a url of [sql]"))?;
    // A guest's statement that nobody waits for any more ends by itself. Guests' statements are prepared once each:
    // whoever wrote them is not trusted with the cache.
    let options = options
        .application_name("mailroom sql")
        .statement_cache_capacity(0)
        .options([
            ("client_connection_check_interval", "1s"),
            ("jit", "off"),
            ("client_min_messages", "error"),
        ])
        // Slow ones neither: a guest's words, and what is in them, are not for the log.
        .disable_statement_logging();
    Ok(PgPoolOptions::new()
        .min_connections(0)
        .max_connections(role.connections_max)
        .acquire_timeout(Duration::from_secs(5))
        .after_connect(|connection, _| refuse_powerful(connection))
        // What a guest set, listened to, locked or prepared goes no further than its call.
        .after_release(|connection, _| Box::pin(wipe(connection)))
        .connect_lazy_with(options))
}

/// Wipes a session for the next call; one that does not answer is dropped.
async fn wipe(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(WIPED_WITHIN, connection.execute("discard all")).await {
        Ok(wiped) => wiped.map(|_| true),
        Err(_) => Err(no_answer(WIPED_WITHIN)),
    }
}

/// A role that could become another, or read what fences the lanes, would let its guest out.
fn refuse_powerful(connection: &mut PgConnection) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    Box::pin(async move {
        let problem = sqlx::query_file_scalar!("src/db/roles_check.sql").fetch_one(connection).await?;
        problem.map_or(Ok(()), |problem| Err(sqlx::Error::Configuration(problem.into())))
    })
}
