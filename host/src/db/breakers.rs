//! The breakers that are open. A row is written before its host acts on it, and every change wakes all hosts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::audit::{self, Change, Operator};
use super::wake::{self, INBOX};
use super::{Db, DbError};
use crate::message::{LAST_ERROR_BYTES_MAX, bounded};

/// Opens a handler's breaker, or keeps it open for another recovery time.
pub(crate) async fn open(
    db: &Db,
    group: &str,
    recovery: Duration,
    worker: &str,
    error: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        "with opened as (
             insert into mailroom.breaker (consumer_group, paused_until, opened_by, last_error)
             values ($1, clock_timestamp() + make_interval(secs => $2), $3, $4)
             on conflict (consumer_group) do update
                set paused_until = excluded.paused_until, last_error = excluded.last_error
             returning 1)
         select pg_notify($5, '') as told from opened",
        group,
        recovery.as_secs_f64(),
        worker,
        bounded(error, LAST_ERROR_BYTES_MAX),
        INBOX,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("opening a breaker"))?;
    Ok(())
}

/// Claims the probe of a breaker whose pause is over: one host has it for a recovery time.
pub(crate) async fn claim_probe(db: &Db, group: &str, recovery: Duration) -> Result<bool, DbError> {
    let claimed = sqlx::query!(
        "update mailroom.breaker set paused_until = clock_timestamp() + make_interval(secs => $2)
          where consumer_group = $1 and paused_until <= clock_timestamp()",
        group,
        recovery.as_secs_f64(),
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("claiming a probe"))?;
    Ok(claimed.rows_affected() == 1)
}

/// Closes a breaker; gives whether it was open.
pub(crate) async fn close(db: &Db, group: &str) -> Result<bool, DbError> {
    let closed = sqlx::query!(
        "with closed as (delete from mailroom.breaker where consumer_group = $1 returning 1)
         select pg_notify($2, '') as told from closed",
        group,
        INBOX,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("closing a breaker"))?;
    Ok(!closed.is_empty())
}

/// The groups that an operator may mean by a name: one of that name, or of the handler.
pub(crate) fn groups_of(namespace: &str, name: &str) -> [String; 2] {
    [name.to_owned(), format!("{namespace}.{name}")]
}

/// Closes a breaker for an operator; gives whether it was open.
pub(crate) async fn reset(db: &Db, group: &str, by: &Operator) -> Result<bool, DbError> {
    const DOING: &str = "resetting a breaker";
    let mut tx = db.begin(DOING).await?;
    let was = sqlx::query_scalar!(
        r#"delete from mailroom.breaker where consumer_group = $1
           returning jsonb_build_object('open', true, 'since', opened_at, 'by', opened_by, 'error', last_error) as "was!""#,
        group,
    );
    let was = was.fetch_optional(&mut *tx).await.map_err(DbError::new(DOING))?;
    if was.is_none() {
        tx.roll_back().await;
        return Ok(false);
    }
    let closed = json!({ "open": false });
    let change = Change { action: "handler.reset", target: group, before: was, after: Some(closed) };
    audit::note(&mut tx, by, change).await?;
    wake::notify(&mut tx, INBOX).await?;
    tx.commit().await?;
    Ok(true)
}

/// An open breaker, for people.
#[derive(Debug, Serialize)]
pub(crate) struct Open {
    pub(crate) consumer_group: String,
    pub(crate) opened_at: DateTime<Utc>,
    pub(crate) opened_by: String,
    /// Negative where the next probe is overdue: nothing waits that could be tried.
    pub(crate) probe_in_secs: f64,
    pub(crate) last_error: String,
}

/// Lists the breakers that are open.
pub(crate) async fn list(db: &Db) -> Result<Vec<Open>, DbError> {
    sqlx::query_as!(
        Open,
        r#"select consumer_group, opened_at, opened_by, last_error,
                  extract(epoch from paused_until - clock_timestamp())::double precision as "probe_in_secs!"
             from mailroom.breaker order by consumer_group"#,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("reading the breakers"))
}
