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
    pub(crate) version: Option<&'e str>,
    /// `compiling`, `running`, `refused` or `removed`.
    pub(crate) state: &'e str,
    pub(crate) subscriptions: Value,
    pub(crate) last_error: Option<&'e str>,
}

/// Writes what this host has loaded under a name; `since` is when its state and digest came about.
pub(crate) async fn record(db: &Db, host: Uuid, entry: &Entry<'_>) -> Result<(), DbError> {
    sqlx::query!(
        "insert into mailroom.handler as l
                (host, name, consumer_group, digest, version, state, subscriptions, last_error)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (host, name) do update
            set consumer_group = excluded.consumer_group, digest = excluded.digest, version = excluded.version,
                state = excluded.state, subscriptions = excluded.subscriptions, last_error = excluded.last_error,
                since = case when (l.state, l.digest) is distinct from (excluded.state, excluded.digest)
                             then clock_timestamp() else l.since end",
        host,
        entry.name,
        entry.group,
        entry.digest,
        entry.version,
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
/// changed its group keeps its claim on none but the new one, and one that is on no host any more, not even to
/// end its calls, gives its group to whoever asks.
pub(crate) async fn claim_group(
    db: &Db,
    namespace: &str,
    group: &str,
    handler: &str,
) -> Result<String, DbError> {
    let failed = || DbError::new("claiming a consumer group");
    let mut tx = db.begin("claiming a consumer group").await?;
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
        "insert into mailroom.consumer_group as g (name, namespace, handler) values ($1, $2, $3)
         on conflict (name) do update set handler = excluded.handler, claimed_at = clock_timestamp()
          where g.namespace = excluded.namespace and g.handler <> excluded.handler
            and not exists (select from mailroom.handler l where l.name = g.handler and l.state <> 'removed')",
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
    tx.commit().await?;
    let ours = owner.namespace == namespace;
    Ok(if ours { owner.handler } else { format!("{} of namespace {}", owner.handler, owner.namespace) })
}
