//! Notices a pooler in transaction mode that nobody declared: sessions there are others' too, and what the host
//! believes of its own is not so.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

use super::DbError;
use super::servers::{Servers, open};

/// Remedy that an operator has.
pub(crate) const REMEDY: &str = "a pooler in transaction mode seems to stand before Postgres; say so with \
                                 postgres.pool-mode = \"transaction\", or connect directly or in session mode, as \
                                 the URLs of [sql.NAME] must";

const LIMIT: Duration = Duration::from_secs(5);
/// Rounds of a try: one shows it where nobody else uses the pool.
const ROUNDS: usize = 5;
const DOING: &str = "looking for a pooler in transaction mode";

/// Tells whether one of two connections has a backend that the other had a moment ago, or changes its own.
pub(super) async fn is_in_transaction_mode(servers: &Servers) -> Result<bool, DbError> {
    let looked = timeout(2 * LIMIT, async {
        let connect = || servers.connect(LIMIT, open);
        let (mut one, mut other) = (connect().await?, connect().await?);
        let found = swaps(&mut one, &mut other).await?;
        one.close().await?;
        other.close().await?;
        Ok(found)
    });
    looked.await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(DbError::new(DOING))
}

async fn swaps(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, sqlx::Error> {
    for _ in 0..ROUNDS {
        let first = backend(one).await?;
        // It holds what `one` gave back, if that can be had.
        sqlx::raw_sql("begin").execute(&mut *other).await?;
        let held = backend(other).await?;
        let second = backend(one).await?;
        sqlx::raw_sql("rollback").execute(&mut *other).await?;
        if first == held || first != second {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the backend's number, by the simple protocol, which leaves nothing behind.
async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::Row::try_get(&sqlx::raw_sql("select pg_catalog.pg_backend_pid()").fetch_one(connection).await?, 0)
}
