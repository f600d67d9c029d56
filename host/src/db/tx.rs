//! Transactions of the host's own, and statements that are one each.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use futures_util::future::{self, BoxFuture};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{AssertSqlSafe, Describe, Either, Execute, Executor, Postgres, SqlStr};

use super::DbError;
use super::conn::{Command, Conn, unsupported};
use super::error::{Progress, progress_once_sent, tag, tag_unless};
use super::pool::Pool;

/// An open transaction. Whether its commit was sent is known; dropped, it is rolled back with its connection.
#[derive(Debug)]
pub(crate) struct Tx {
    conn: Conn,
    doing: &'static str,
}

impl Tx {
    pub(super) async fn begin(pool: &Arc<Pool>, command: Command<'_>) -> Result<Self, DbError> {
        let doing = command.doing;
        let conn = pool.acquire(command).await;
        let mut conn = conn.map_err(tag(Progress::NotSent)).map_err(DbError::new(doing))?;
        conn.set_open(true);
        let begin = AssertSqlSafe(pool.session().begin());
        sqlx::raw_sql(begin).execute(&mut conn).await.map_err(DbError::new(doing))?;
        Ok(Self { conn, doing })
    }

    /// Commits.
    ///
    /// # Errors
    /// The error's progress says whether that is known to have failed.
    pub(crate) async fn commit(mut self) -> Result<(), DbError> {
        if let Some(late) = self.conn.late() {
            return Err(DbError::new(self.doing)(late));
        }
        let committed = sqlx::raw_sql("commit").execute(&mut self.conn).await;
        // Where the answer is missing, the connection is not given back for that.
        self.conn.set_open(false);
        committed.map_err(DbError::of_commit(self.doing))?;
        self.conn.committed();
        Ok(())
    }

    /// Rolls back and keeps the connection, for what comes often; a drop rolls back too.
    pub(crate) async fn roll_back(mut self) {
        if sqlx::raw_sql("rollback").execute(&mut self.conn).await.is_ok() {
            self.conn.set_open(false);
        }
    }
}

impl Deref for Tx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

/// Runs each statement on a connection of its own, as a transaction of its own. All rows are taken before the first
/// is given: pages of large rows are better read on a [`Conn`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Single<'d> {
    pub(super) pool: &'d Arc<Pool>,
    pub(super) command: Command<'d>,
}

impl Single<'_> {
    async fn conn(self) -> Result<Conn, sqlx::Error> {
        self.pool.acquire(self.command).await.map_err(tag(Progress::NotSent))
    }

    /// Adds to an error how far the statement got.
    fn answered<T>(self, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        match answer {
            Ok(answer) => {
                if self.command.lanes.is_some() || self.pool.is_probe() {
                    self.pool.silence().committed();
                }
                Ok(answer)
            }
            Err(error) => Err(tag_unless(progress_once_sent(&error), error)),
        }
    }
}

impl<'c> Executor<'c> for Single<'c> {
    type Database = Postgres;

    fn fetch_many<'e, 'q, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: Execute<'q, Postgres>,
        'q: 'e,
        E: 'q,
    {
        let steps = async move {
            let mut conn = self.conn().await?;
            let steps: Result<Vec<_>, sqlx::Error> = conn.fetch_many(query).try_collect().await;
            self.answered(steps)
        };
        stream::once(steps).map_ok(|steps| stream::iter(steps).map(Ok)).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: Execute<'q, Postgres>,
        'q: 'e,
        E: 'q,
    {
        Box::pin(async move {
            let mut conn = self.conn().await?;
            let row = conn.fetch_optional(query).await;
            self.answered(row)
        })
    }

    fn prepare_with<'e>(
        self,
        _: SqlStr,
        _: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(future::ready(Err(unsupported())))
    }

    fn describe<'e>(self, _: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(future::ready(Err(unsupported())))
    }
}
