//! Handlers that an operator paused: nothing of them is started on any host. Every change wakes all hosts.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::wake::INBOX;
use super::{Db, DbError};
use crate::message::{LAST_ERROR_BYTES_MAX, bounded};

/// A paused handler, for people.
#[derive(Debug, Serialize)]
pub(crate) struct Paused {
    pub(crate) consumer_group: String,
    pub(crate) paused_at: DateTime<Utc>,
    /// Name of who paused it, as Postgres and the configuration call them.
    pub(crate) paused_by: String,
    pub(crate) reason: Option<String>,
}

/// The consumer groups of a handler, of which it has two while it changes from one to the other, or the one of that
/// name; where any host ever worked on them.
pub(crate) async fn groups_of(db: &Db, namespace: &str, name: &str) -> Result<Vec<String>, DbError> {
    let groups = sqlx::query_scalar!(
        "select name from mailroom.consumer_group
          where name = $2 or (namespace = $1 and handler = $2) order by name",
        namespace,
        name,
    );
    groups.fetch_all(db.pool()).await.map_err(DbError::new("looking for a consumer group"))
}

/// Pauses a handler. Of one that is paused the reason is replaced, where there is a new one.
pub(crate) async fn pause(db: &Db, group: &str, worker: &str, reason: Option<&str>) -> Result<(), DbError> {
    sqlx::query!(
        "with paused as (
             insert into mailroom.handler_pause as p (consumer_group, paused_by, reason)
             values ($1, session_user || '@' || $2::text, $3)
             on conflict (consumer_group) do update set reason = coalesce(excluded.reason, p.reason)
             returning 1)
         select pg_notify($4, '') as told from paused",
        group,
        worker,
        reason.map(|reason| bounded(reason, LAST_ERROR_BYTES_MAX)),
        INBOX,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("pausing a handler"))?;
    Ok(())
}

/// Lets a handler go on; gives whether it was paused.
pub(crate) async fn resume(db: &Db, group: &str) -> Result<bool, DbError> {
    let resumed = sqlx::query!(
        "with resumed as (delete from mailroom.handler_pause where consumer_group = $1 returning 1)
         select pg_notify($2, '') as told from resumed",
        group,
        INBOX,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("resuming a handler"))?;
    Ok(!resumed.is_empty())
}

/// Lists the handlers that are paused.
pub(crate) async fn list(db: &Db) -> Result<Vec<Paused>, DbError> {
    let paused = sqlx::query_as!(
        Paused,
        "select consumer_group, paused_at, paused_by, reason from mailroom.handler_pause order by consumer_group",
    );
    paused.fetch_all(db.pool()).await.map_err(DbError::new("reading the pauses"))
}
