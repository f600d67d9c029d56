//! The registry of handlers, and whose a consumer group is.

use serde_json::Value;

use uuid::Uuid;

use super::{Conn, Db, DbError};

/// Handler as a host has loaded it, or could not.
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

/// Claims a consumer group for a handler; gives the name of the handler that has it. In the same transaction the
/// registry says that this host's handler stands in the group, whoever has it: claims of one group follow each
/// other, and each sees where those before it stand. The group of a handler that stands in it on no host any more,
/// not even to end its calls, goes to whoever asks. One that has not said its group yet may stand anywhere.
pub(crate) async fn claim_group(
    db: &Db,
    host: Uuid,
    namespace: &str,
    entry: &Entry<'_>,
) -> Result<String, DbError> {
    let failed = || DbError::new("claiming a consumer group");
    let mut tx = db.begin("claiming a consumer group").await?;
    // The update changes nothing: it locks the row, which may have been made by another just now.
    let owner = sqlx::query!(
        "insert into mailroom.consumer_group as g (name, namespace, handler) values ($1, $2, $3)
             on conflict (name) do update set name = g.name
         returning g.namespace, g.handler",
        entry.group,
        namespace,
        entry.name,
    );
    let owner = owner.fetch_one(&mut *tx).await.map_err(failed())?;
    sqlx::query!(
        "insert into mailroom.handler as l
                (host, name, consumer_group, digest, version, state, subscriptions, last_error)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict (host, name) do update set consumer_group = excluded.consumer_group
          where l.consumer_group <> excluded.consumer_group",
        host,
        entry.name,
        entry.group,
        entry.digest,
        entry.version,
        entry.state,
        entry.subscriptions,
        entry.last_error,
    )
    .execute(&mut *tx)
    .await
    .map_err(failed())?;
    let taken = sqlx::query!(
        "update mailroom.consumer_group g set handler = $3, claimed_at = clock_timestamp()
          where g.name = $1 and g.namespace = $2 and g.handler <> $3
            and not exists (select from mailroom.handler l
                             where l.name = g.handler and l.state <> 'removed'
                               and (l.consumer_group = g.name or l.digest is null))",
        entry.group,
        namespace,
        entry.name,
    )
    .execute(&mut *tx)
    .await
    .map_err(failed())?;
    if taken.rows_affected() == 1 || (owner.namespace == namespace && owner.handler == entry.name) {
        leave_others(&mut tx, namespace, entry).await?;
        tx.commit().await?;
        return Ok(entry.name.to_owned());
    }
    tx.commit().await?;
    let ours = owner.namespace == namespace;
    Ok(if ours { owner.handler } else { format!("{} of namespace {}", owner.handler, owner.namespace) })
}

/// Drops the handler's claims on groups in which it stands on no host any more. One that is being claimed is left
/// to whoever claims it.
async fn leave_others(connection: &mut Conn, namespace: &str, entry: &Entry<'_>) -> Result<(), DbError> {
    sqlx::query!(
        "delete from mailroom.consumer_group where name in (
             select g.name from mailroom.consumer_group g
              where g.namespace = $1 and g.handler = $2 and g.name <> $3
                and not exists (select from mailroom.handler l
                                 where l.name = $2 and l.state <> 'removed'
                                   and (l.consumer_group = g.name or l.digest is null))
                for update skip locked)",
        namespace,
        entry.name,
        entry.group,
    )
    .execute(connection)
    .await
    .map_err(DbError::new("leaving consumer groups"))?;
    Ok(())
}
