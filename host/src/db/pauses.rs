//! Handlers that an operator paused: nothing of them is started on any host. Every change wakes all hosts.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::audit::{self, Change, Operator};
use super::wake::{self, INBOX};
use super::{Db, DbError, Tx};

/// A paused handler, for people.
#[derive(Debug, Serialize)]
pub(crate) struct Paused {
    pub(crate) consumer_group: String,
    pub(crate) paused_at: DateTime<Utc>,
    /// Operator: a token's name, or the role of Postgres and the host's name of whoever used the command line.
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
pub(crate) async fn pause(db: &Db, group: &str, by: &Operator) -> Result<(), DbError> {
    const DOING: &str = "pausing a handler";
    let mut tx = db.begin(DOING).await?;
    let before = begin_change(&mut tx, group).await?;
    let (reason, paused) = (by.reason(), json!({ "paused": true }));
    let change = Change { action: "handler.pause", target: group, before: Some(before), after: Some(paused) };
    let actor = audit::note(&mut tx, by, change).await?;
    sqlx::query!(
        "insert into mailroom.handler_pause as p (consumer_group, paused_by, reason) values ($1, $2, $3)
             on conflict (consumer_group) do update set reason = coalesce(excluded.reason, p.reason)",
        group,
        actor,
        reason,
    )
    .execute(&mut *tx)
    .await
    .map_err(DbError::new(DOING))?;
    wake::notify(&mut tx, INBOX).await?;
    tx.commit().await
}

/// Lets a handler go on; gives whether it was paused.
pub(crate) async fn resume(db: &Db, group: &str, by: &Operator) -> Result<bool, DbError> {
    const DOING: &str = "resuming a handler";
    let mut tx = db.begin(DOING).await?;
    let before = begin_change(&mut tx, group).await?;
    let resumed = sqlx::query!("delete from mailroom.handler_pause where consumer_group = $1", group)
        .execute(&mut *tx)
        .await
        .map_err(DbError::new(DOING))?;
    if resumed.rows_affected() == 0 {
        tx.roll_back().await;
        return Ok(false);
    }
    let goes_on = json!({ "paused": false });
    let change =
        Change { action: "handler.resume", target: group, before: Some(before), after: Some(goes_on) };
    audit::note(&mut tx, by, change).await?;
    wake::notify(&mut tx, INBOX).await?;
    tx.commit().await?;
    Ok(true)
}

/// Lets one operator after the other change a group; gives what the group is now.
async fn begin_change(tx: &mut Tx, group: &str) -> Result<Value, DbError> {
    let failed = || DbError::new("reading a pause");
    sqlx::query!("select name from mailroom.consumer_group where name = $1 for no key update", group)
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed())?;
    let paused = sqlx::query_scalar!(
        r#"select jsonb_build_object('paused', true, 'by', paused_by, 'since', paused_at, 'reason', reason) as "paused!"
             from mailroom.handler_pause where consumer_group = $1"#,
        group,
    );
    let paused = paused.fetch_optional(&mut **tx).await.map_err(failed())?;
    Ok(paused.unwrap_or_else(|| json!({ "paused": false })))
}

/// Lists the handlers that are paused.
pub(crate) async fn list(db: &Db) -> Result<Vec<Paused>, DbError> {
    let paused = sqlx::query_as!(
        Paused,
        "select consumer_group, paused_at, paused_by, reason from mailroom.handler_pause order by consumer_group",
    );
    paused.fetch_all(db.pool()).await.map_err(DbError::new("reading the pauses"))
}
