//! Statements of `mailroom doctor`. What they ask of Postgres' catalogue has no types that a compiler could check.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Db, DbError, roles};

/// A fault that a statement found.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Fault {
    /// One of the doctor's codes.
    pub(crate) code: String,
    /// The fault in words.
    pub(crate) what: String,
    /// The statement that mends it.
    pub(crate) remedy: String,
}

/// A host whose clock is ahead of Postgres'.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ClockAhead {
    pub(crate) worker: String,
    pub(crate) ahead_secs: f64,
}

/// Moments before and after Postgres told its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClockLook {
    pub(crate) before: DateTime<Utc>,
    pub(crate) server: DateTime<Utc>,
    pub(crate) after: DateTime<Utc>,
}

/// The schema as the migrations of this binary make it.
pub(crate) const SCHEMA: &str = include_str!("schema.snapshot");

/// Looks at tables, rights, settings and sessions. Transactions count that are open for longer than `transactions`, and
/// `connections` are what all hosts together may open.
pub(crate) async fn catalogue(
    db: &Db,
    transactions: Duration,
    connections: i32,
) -> Result<Vec<Fault>, DbError> {
    sqlx::query_as(include_str!("doctor_catalogue.sql"))
        .bind(transactions.as_secs_f64())
        .bind(connections)
        .fetch_all(db.pool())
        .await
        .map_err(DbError::new("looking at the catalogue"))
}

/// Says which rights on its tables and functions the role that `db` is logged in as lacks.
pub(crate) async fn lacking(db: &Db) -> Result<Vec<Fault>, DbError> {
    let mut faults = catalogue(db, Duration::from_hours(24), 0).await?;
    faults.retain(|fault| fault.code == "grants");
    Ok(faults)
}

/// The schema as it is, in the form of [`SCHEMA`].
pub(crate) async fn schema(db: &Db) -> Result<Vec<String>, DbError> {
    sqlx::query_scalar(include_str!("schema_lines.sql"))
        .fetch_all(db.pool())
        .await
        .map_err(DbError::new("reading the schema"))
}

/// Hosts that wait since a moment which has not come.
pub(crate) async fn clocks_ahead(db: &Db) -> Result<Vec<ClockAhead>, DbError> {
    sqlx::query_as(include_str!("doctor_hosts.sql"))
        .fetch_all(db.pool())
        .await
        .map_err(DbError::new("comparing the clocks of hosts"))
}

/// Asks Postgres for its time.
pub(crate) async fn clock(db: &Db) -> Result<ClockLook, DbError> {
    let ask = async || {
        let before = Utc::now();
        let server = sqlx::query_scalar("select clock_timestamp()").fetch_one(db.pool()).await;
        let server = server.map_err(DbError::new("asking Postgres for its time"))?;
        Ok(ClockLook { before, server, after: Utc::now() })
    };
    // The first may wait for a connection and for a plan.
    ask().await?;
    ask().await
}

/// Finds those of these topics to which records without a key are published, and how many of them were found.
pub(crate) async fn keyless(db: &Db, topics: &[String]) -> Result<Vec<(String, i64)>, DbError> {
    sqlx::query_as(include_str!("doctor_keyless.sql"))
        .bind(topics)
        .fetch_all(db.pool())
        .await
        .map_err(DbError::new("looking for records without a key"))
}

/// Says why the role that `db` is logged in as cannot run a handler's SQL.
pub(crate) async fn sql_role(db: &Db) -> Result<Vec<Fault>, DbError> {
    let mut faults: Vec<Fault> = Vec::new();
    if let Some(problem) = roles::refusal(db).await? {
        let remedy =
            problem.split_once(": ").map_or("give the handlers' SQL a role of its own", |(_, sql)| sql);
        faults.push(Fault { code: "sql-role".to_owned(), remedy: remedy.to_owned(), what: problem });
    }
    let lacking = sqlx::query_as(include_str!("doctor_sql_role.sql")).fetch_all(db.pool()).await;
    faults.extend(lacking.map_err(DbError::new("looking at a role's rights"))?);
    Ok(faults)
}
