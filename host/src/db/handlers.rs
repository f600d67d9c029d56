//! The registry of handlers, and whose a consumer group is.

use serde_json::Value;
use uuid::Uuid;

use super::{Db, DbError};

/// What a host has loaded, or could not.
#[derive(Debug)]
pub(crate) struct Entry<'e> {
    pub(crate) name: &'e str,
    pub(crate) group: &'e str,
    pub(crate) digest: Option<&'e str>,
    /// `running`, `refused` or `removed`.
    pub(crate) state: &'e str,
    pub(crate) subscriptions: Value,
    pub(crate) last_error: Option<&'e str>,
}

/// Writes what this host has loaded under a name.
pub(crate) async fn record(db: &Db, host: Uuid, entry: &Entry<'_>) -> Result<(), DbError> {
    sqlx::query!(
        "insert into mailroom.handler (host, name, consumer_group, digest, state, subscriptions, last_error)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (host, name) do update
            set consumer_group = excluded.consumer_group, digest = excluded.digest, state = excluded.state,
                subscriptions = excluded.subscriptions, last_error = excluded.last_error, since = clock_timestamp()",
        host,
        entry.name,
        entry.group,
        entry.digest,
        entry.state,
        entry.subscriptions,
        entry.last_error,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("recording a handler"))?;
    Ok(())
}

/// Claims a consumer group for a handler; gives the name of the handler that has it. A handler that
/// changed its group keeps its claim on none but the new one.
pub(crate) async fn claim_group(
    db: &Db,
    namespace: &str,
    group: &str,
    handler: &str,
) -> Result<String, DbError> {
    let failed = || DbError::new("claiming a consumer group");
    let mut tx = db.pool().begin().await.map_err(failed())?;
    sqlx::query!(
        "delete from mailroom.consumer_group where namespace = $1 and handler = $2 and name <> $3",
        namespace,
        handler,
        group,
    )
    .execute(&mut *tx)
    .await
    .map_err(failed())?;
    sqlx::query!(
        "insert into mailroom.consumer_group (name, namespace, handler) values ($1, $2, $3) on conflict do nothing",
        group,
        namespace,
        handler,
    )
    .execute(&mut *tx)
    .await
    .map_err(failed())?;
    let owner = sqlx::query!("select namespace, handler from mailroom.consumer_group where name = $1", group)
        .fetch_one(&mut *tx)
        .await
        .map_err(failed())?;
    tx.commit().await.map_err(failed())?;
    let ours = owner.namespace == namespace;
    Ok(if ours { owner.handler } else { format!("{} of namespace {}", owner.handler, owner.namespace) })
}
