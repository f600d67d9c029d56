//! A world's database, seen by plain SQL.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use sqlx::{
    AssertSqlSafe, Connection as _, Decode, FromRow, PgConnection, Postgres, SqlSafeStr, Transaction, Type,
};

/// One database and a small pool into it.
#[derive(Debug)]
pub struct Db {
    pool: PgPool,
    server_url: String,
    name: String,
}

impl Db {
    /// Creates the database `name`.
    ///
    /// # Errors
    /// Postgres' own.
    pub async fn create(server_url: &str, name: &str) -> Result<Self> {
        let mut server = PgConnection::connect(server_url).await.context("the test's Postgres is away")?;
        // The name is the harness' own: letters, digits and underscores.
        sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut server).await?;
        // The role is called as the product's schema is, and would find its names unqualified.
        let statement = format!("alter database {name} set search_path = public");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut server).await?;
        server.close().await?;
        let server_url = server_url.to_owned();
        let url = url_of(&server_url, name);
        let pool = PgPoolOptions::new().max_connections(5).connect(&url).await?;
        Ok(Self { pool, server_url, name: name.to_owned() })
    }

    /// Removes the database, whoever is still connected.
    ///
    /// # Errors
    /// Postgres' own.
    pub async fn remove(&self) -> Result<()> {
        self.pool.close().await;
        let mut server = PgConnection::connect(&self.server_url).await?;
        let statement = format!("drop database {} with (force)", self.name);
        sqlx::query(AssertSqlSafe(statement)).execute(&mut server).await?;
        Ok(server.close().await?)
    }

    /// Returns the URL by which the host finds it.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(&self.server_url, &self.name)
    }

    /// Returns the URL by which a role of its own finds it.
    #[must_use]
    pub fn url_as(&self, role: &str, password: &str) -> String {
        format!("postgres://{role}:{password}@{}/{}", self.address(), self.name)
    }

    /// The server's `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        let (server, _) = self.server_url.rsplit_once('/').unwrap_or((&self.server_url, ""));
        server.rsplit(['@', '/']).next().unwrap_or(server).to_owned()
    }

    /// Returns the name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the pool, for statements with parameters and for transactions.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The one value of a query.
    ///
    /// # Errors
    /// Postgres' own, and where there is no row.
    pub async fn one<T>(&self, query: impl SqlSafeStr) -> Result<T>
    where
        T: Send + Unpin + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(sqlx::query_scalar(query).fetch_one(&self.pool).await?)
    }

    /// The first column of all rows.
    ///
    /// # Errors
    /// Postgres' own.
    pub async fn column<T>(&self, query: impl SqlSafeStr) -> Result<Vec<T>>
    where
        T: Send + Unpin + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(sqlx::query_scalar(query).fetch_all(&self.pool).await?)
    }

    /// All rows, as tuples.
    ///
    /// # Errors
    /// Postgres' own.
    pub async fn rows<T>(&self, query: impl SqlSafeStr) -> Result<Vec<T>>
    where
        T: Send + Unpin + for<'r> FromRow<'r, PgRow>,
    {
        Ok(sqlx::query_as(query).fetch_all(&self.pool).await?)
    }

    /// Runs a statement and gives the number of rows it touched.
    ///
    /// # Errors
    /// Postgres' own.
    pub async fn execute(&self, statement: impl SqlSafeStr) -> Result<u64> {
        Ok(sqlx::query(statement).execute(&self.pool).await?.rows_affected())
    }

    /// Counts the inbox rows that are `completed`.
    ///
    /// # Errors
    /// Postgres' own.
    pub async fn completed(&self) -> Result<i64> {
        self.one("select count(*) from mailroom.inbox where status = 'completed'").await
    }

    /// The name by which rows call a component: SHA-256 of its file, hex.
    ///
    /// # Errors
    /// The file's own and Postgres' own.
    pub async fn digest_of(&self, component: &Path) -> Result<String> {
        let query = sqlx::query_scalar("select encode(sha256($1), 'hex')").bind(fs::read(component)?);
        Ok(query.fetch_one(&self.pool).await?)
    }

    /// Runs a statement, `lock table …`, in a transaction that stays open until the answer is released.
    ///
    /// # Errors
    /// Postgres' own.
    pub async fn hold(&self, statement: impl SqlSafeStr) -> Result<Held> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(statement).execute(&mut *transaction).await?;
        Ok(Held(transaction))
    }

    /// Tells whether somebody waits for a lock with a statement that contains `text`.
    ///
    /// # Errors
    /// Postgres' own.
    pub async fn waits_for_lock(&self, text: &str) -> Result<bool> {
        let query = "select count(*) > 0 from pg_stat_activity
                      where datname = current_database() and wait_event_type = 'Lock'
                        and query ilike '%' || $1 || '%'";
        Ok(sqlx::query_scalar(query).bind(text).fetch_one(&self.pool).await?)
    }

    /// Counts the sessions that have a transaction or a statement open here, this one not counted.
    ///
    /// # Errors
    /// Postgres' own.
    pub async fn busy_sessions(&self) -> Result<i64> {
        self.one(
            "select count(*) from pg_stat_activity
              where datname = current_database() and state <> 'idle' and pid <> pg_backend_pid()",
        )
        .await
    }
}

/// A transaction that is open on purpose.
#[derive(Debug)]
pub struct Held(Transaction<'static, Postgres>);

impl Held {
    /// Ends it without a trace.
    ///
    /// # Errors
    /// Postgres' own.
    pub async fn release(self) -> Result<()> {
        Ok(self.0.rollback().await?)
    }
}

fn url_of(server_url: &str, name: &str) -> String {
    let (server, _) = server_url.rsplit_once('/').unwrap_or((server_url, ""));
    format!("{server}/{name}")
}
