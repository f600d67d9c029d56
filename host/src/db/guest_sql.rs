//! A guest's own transaction: its statements, one at a time, on a connection logged in as its role.
//!
//! Postgres' own grammar keeps a guest from ending the transaction: only what `prepare` takes is run, which is
//! one SELECT, INSERT, UPDATE, DELETE, MERGE or VALUES. (That takes SELECT INTO along, which makes a table where the
//! role may make one.) Nothing of a session is a guest's to keep: the connection is wiped before anybody else has
//! it, and closed where a statement was left behind.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgColumn, PgTypeInfo};
use sqlx::{
    AssertSqlSafe, Either, Executor as _, PgConnection, Postgres, Row as _, SqlSafeStr as _, Statement as _,
};
use tokio::time::{Instant, timeout_at};

use super::guest_values::{self, Value};
use super::roles::Role;
use super::{Db, DbError, SqlError};

/// Bytes of one answer.
pub(super) const TABLE_BYTES_MAX: usize = 4 << 20;
/// Parameters of one statement: the protocol counts them in two bytes.
const PARAMETERS_MAX: usize = u16::MAX as usize;
/// The first number of a type that somebody made. The client keeps what it learns of such types for as long as the
/// connection lives.
const FIRST_MADE_TYPE: u32 = 16_384;
const SETTLING: &str = "settling a message with SQL";
/// Beginning of a transaction. A guest's statement that nobody waits for any more ends by itself.
const BEGIN: &str = "begin isolation level read committed read write; set local jit = off; \
                     set local client_min_messages = error; set local client_connection_check_interval = '1s'";

/// Result of a query.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
    /// Rows that the statement wrote, or read.
    pub(crate) affected: u64,
}

/// An open transaction of a guest. Dropping it rolls back, since it closes the connection.
#[derive(Debug)]
pub(crate) struct GuestTx {
    connection: Option<PoolConnection<Postgres>>,
    db: Db,
    begun: Instant,
    /// True if it was asked for values of types that somebody made, and is not for another call.
    knows_types: bool,
}

impl GuestTx {
    /// Begins one as the role, within the deadline.
    ///
    /// # Errors
    /// Where Postgres or the role is not to be had.
    pub(crate) async fn begin(db: &Db, role: &str, deadline: Instant) -> Result<Self, SqlError> {
        let unavailable = |why: String| SqlError::Unavailable(format!("the SQL role {role}: {why}"));
        let pool = db.role(role).ok_or_else(|| unavailable(format!("there is no [sql.{role}]")))?;
        match timeout_at(deadline, Self::open(db, pool)).await {
            Ok(Ok(tx)) => Ok(tx),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => {
                pool.choose_next();
                Err(unavailable("no connection within the call's deadline".to_owned()))
            }
        }
    }

    async fn open(db: &Db, role: &Role) -> Result<Self, sqlx::Error> {
        let connection = match db.threads().connect(role.acquire()).await {
            Err(_) if role.choose_next() => db.threads().connect(role.acquire()).await,
            connected => connected,
        };
        // From here on it is closed unless the end says otherwise.
        let mut tx =
            Self { connection: Some(connection?), db: db.clone(), begun: Instant::now(), knows_types: false };
        sqlx::raw_sql(BEGIN).execute(tx.connection()?).await?;
        Ok(tx)
    }

    fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Runs one statement. After an error the transaction is lost.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub(crate) async fn run(
        &mut self,
        statement: &str,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Table, SqlError> {
        if statement.contains('\0') {
            return Err(SqlError::refused("22021", "a statement cannot have U+0000 in it"));
        }
        if params.len() > PARAMETERS_MAX {
            let message = format!("a statement may have {PARAMETERS_MAX} parameters, not {}", params.len());
            return Err(SqlError::refused("54000", message));
        }
        let ran = timeout_at(deadline, async {
            let connection = self.connection().map_err(SqlError::of)?;
            bound(connection, deadline.saturating_duration_since(Instant::now()))
                .await
                .map_err(SqlError::of)?;
            probe(connection, statement, &params).await.map_err(SqlError::of)?;
            fetch(connection, statement, params).await
        });
        let ran = ran.await;
        if let Ok(Ok((_, has_made_types))) = &ran {
            self.knows_types |= has_made_types;
        }
        let ran = ran.map(|ran| ran.map(|(table, _)| table));
        match ran {
            Ok(Err(error)) if error.ended_session() && !self.ended_alone(deadline).await => {
                Err(SqlError::Unavailable(error.to_string()))
            }
            Ok(ran) => ran,
            Err(_) => Err(SqlError::refused("57014", "the call's deadline has passed")),
        }
    }

    /// Tells whether Postgres itself goes on, after it ended this session. Then the guest has asked it to, or
    /// somebody who had enough of its statement; otherwise Postgres has not been up for as long as the
    /// transaction.
    async fn ended_alone(&self, deadline: Instant) -> bool {
        let goes_on = sqlx::query_scalar!(
            r#"select clock_timestamp() - pg_postmaster_start_time() > make_interval(secs => $1) as "goes_on!""#,
            self.begun.elapsed().as_secs_f64(),
        );
        matches!(timeout_at(deadline, goes_on.fetch_one(self.db.pool())).await, Ok(Ok(true)))
    }

    /// Runs the host's own statement, which is told the transaction's number and gives one row, and commits; both
    /// within a command's limit. Whatever limits the guest has set do not hold for it. Then the connection is given back to be wiped.
    ///
    /// # Errors
    /// Its progress says whether the commit is known to have failed.
    pub(crate) async fn settle<T: Send>(
        mut self,
        lane: i32,
        settle: impl AsyncFnOnce(&mut PgConnection, &str) -> Result<T, sqlx::Error>,
    ) -> Result<T, DbError> {
        let mut watch = self.db.watch(SETTLING, lane);
        let limit = self.db.limit();
        let connection = self.connection().map_err(DbError::new(SETTLING))?;
        let settled = watch.answer(async {
            bound(connection, limit * 4 / 5).await?;
            let transaction =
                sqlx::query_scalar!(r#"select pg_catalog.pg_current_xact_id()::text as "number!""#);
            let transaction = transaction.fetch_one(&mut *connection).await?;
            settle(connection, &transaction).await
        });
        let settled = settled.await.map_err(DbError::new(SETTLING))?;
        watch.sends();
        let connection = self.connection().map_err(DbError::new(SETTLING))?;
        let committed = watch.answer(sqlx::raw_sql("commit").execute(connection)).await;
        committed.map_err(DbError::of_commit(SETTLING))?;
        watch.committed();
        // Given back to be wiped; but what the client knows of types outlasts a wipe.
        if !self.knows_types {
            drop(self.connection.take());
        }
        Ok(settled)
    }
}

impl Drop for GuestTx {
    fn drop(&mut self) {
        // Its socket is closed: to say goodbye could mean to wait for a server that is silent.
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

/// Names functions with their schema: what is found first is up to the guest. No statement outlives the call, and nobody else's lock is waited for as long. Set before each statement, since
/// a guest may have set it otherwise in the last.
async fn bound(connection: &mut PgConnection, rest: Duration) -> Result<(), sqlx::Error> {
    let milliseconds = rest.as_millis().clamp(1, 600_000);
    sqlx::query!(
        "select pg_catalog.set_config('statement_timeout', $1, true) as statement,
                pg_catalog.set_config('lock_timeout', $2, true) as lock,
                pg_catalog.set_config('idle_in_transaction_session_timeout', $1, true) as idle",
        milliseconds.to_string(),
        (milliseconds / 2).max(1).to_string(),
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Fails unless the statement is one that can be prepared, and only one.
async fn probe(connection: &mut PgConnection, statement: &str, params: &[Value]) -> Result<(), sqlx::Error> {
    let types: Vec<&str> = params.iter().map(Value::type_name).collect();
    let types = if types.is_empty() { String::new() } else { format!("({})", types.join(", ")) };
    let prepare = format!("prepare mailroom_probe{types} as {statement}");
    // A guest's words, on a connection that can do no more than the guest may, in a protocol that takes one statement.
    sqlx::query(AssertSqlSafe(prepare)).persistent(false).execute(&mut *connection).await?;
    sqlx::query("deallocate mailroom_probe").execute(connection).await?;
    Ok(())
}

/// Gives the answer, and whether it has columns of types that somebody made.
async fn fetch(
    connection: &mut PgConnection,
    statement: &str,
    params: Vec<Value>,
) -> Result<(Table, bool), SqlError> {
    // Under a name, until the session is wiped: sqlx asks for types that it does not know, which an unnamed statement
    // would not survive.
    let mut query = sqlx::query(AssertSqlSafe(statement.to_owned()));
    let types: Vec<PgTypeInfo> = params.iter().map(Value::type_info).collect();
    for param in params {
        query = guest_values::bind(query, param);
    }
    let mut table = Table::default();
    let (mut bytes, mut has_made_types) = (0, false);
    #[expect(
        deprecated,
        reason = "the only way to get rows and their number of one statement with parameters"
    )]
    let mut stream = query.fetch_many(&mut *connection);
    while let Some(step) = stream.try_next().await.map_err(SqlError::of)? {
        let row = match step {
            Either::Left(done) => {
                table.affected += done.rows_affected();
                continue;
            }
            Either::Right(row) => row,
        };
        if table.columns.is_empty() {
            table.columns =
                row.columns().iter().map(|column| sqlx::Column::name(column).to_owned()).collect();
            has_made_types = row.columns().iter().any(is_of_made_type);
        }
        let (values, size) = guest_values::read(&row)?;
        bytes += size;
        if bytes > TABLE_BYTES_MAX {
            let message = format!("an answer may have {TABLE_BYTES_MAX} bytes: ask for less, with a limit");
            return Err(SqlError::refused("54000", message));
        }
        table.rows.push(values);
    }
    drop(stream);
    // Without a row there was no column to look at, and the client learned of the types all the same.
    if table.columns.is_empty() && table.affected == 0 {
        let statement = AssertSqlSafe(statement.to_owned()).into_sql_str();
        let prepared = connection.prepare_with(statement, &types).await.map_err(SqlError::of)?;
        has_made_types = prepared.columns().iter().any(is_of_made_type);
    }
    Ok((table, has_made_types))
}

fn is_of_made_type(column: &PgColumn) -> bool {
    sqlx::Column::type_info(column).oid().is_none_or(|oid| oid.0 >= FIRST_MADE_TYPE)
}
