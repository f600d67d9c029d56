//! The row of a running host: its life is what its lanes hang on.

use std::time::Duration;

use sqlx::types::Json;
use uuid::Uuid;

use super::{Db, DbError, dead_letters};
use crate::config;
use crate::lane::SettleKey;

/// Registers a host that starts, or starts anew after it was buried; gives the key that Postgres made for it.
pub(crate) async fn register(
    db: &Db,
    id: Uuid,
    host: &config::Host,
    relays: bool,
) -> Result<SettleKey, DbError> {
    let key = sqlx::query_scalar!(
        "with registered as (
             insert into mailroom.host (id, worker, version, relays, expires_at)
             values ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5)) returning id)
         insert into mailroom.host_key (host) select id from registered returning key",
        id,
        host.worker.as_str(),
        env!("CARGO_PKG_VERSION"),
        relays,
        host.expiry.as_secs_f64(),
    )
    .fetch_one(db.pool())
    .await
    .map_err(DbError::new("registering this host"))?;
    Ok(SettleKey::new(key))
}

/// Renews this host's expiry, and shows what it waits for. `false`: the host was buried, and what it held may be
/// another's.
pub(crate) async fn renew(db: &Db, id: Uuid, expiry: Duration) -> Result<bool, DbError> {
    let renewed = sqlx::query!(
        "update mailroom.host set expires_at = clock_timestamp() + make_interval(secs => $2), waits = $3 where id = $1",
        id,
        expiry.as_secs_f64(),
        Json(db.waits().shown()) as _,
    )
    .execute(db.heartbeat())
    .await
    .map_err(DbError::new("renewing this host's expiry"))?;
    Ok(renewed.rows_affected() == 1)
}

/// Notes for people since when the lanes of buried hosts have no owner, in one order with others that lock
/// lanes; one that is being taken is passed by.
pub(crate) async fn note_free_lanes(db: &Db) -> Result<(), DbError> {
    sqlx::query!(
        "update mailroom.lane l set free_since = clock_timestamp()
           from (select f.id from mailroom.lane f
                  where f.owner is not null and f.free_since is null
                    and not exists (select 1 from mailroom.host h where h.id = f.owner)
                  order by f.id for no key update of f skip locked) free
          where l.id = free.id",
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("noting free lanes"))?;
    Ok(())
}

/// Deletes the rows of other hosts whose expiry has passed: `all` of them, or those of this worker's name, which were
/// this process before it was started anew. Only then may their lanes be taken: a take-over that judged by the
/// clock alone would race with a late settlement.
pub(crate) async fn bury(db: &Db, host: Uuid, worker: &str, all: bool) -> Result<Vec<String>, DbError> {
    sqlx::query_scalar!(
        r#"with buried as (
               delete from mailroom.host where id in (
                   select id from mailroom.host
                    where expires_at < clock_timestamp() and id <> $1 and (worker = $2 or $3)
                    order by id for update skip locked)
               returning id, worker),
           noted as (insert into mailroom.buried_host (session, worker) select id, worker from buried),
           forgotten as (
               delete from mailroom.buried_host b
                where b.buried_at < clock_timestamp() - interval '1 day' and exists (select from buried)),
           outlived as (
               delete from mailroom.host_key k
                where exists (select from buried)
                  and not exists (select from mailroom.host h where h.id = k.host)
                  and not exists (select from mailroom.lane l where l.owner = k.host))
           select worker as "worker!" from buried"#,
        host,
        worker,
        all,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("burying expired hosts"))
}

/// Proves that a host lives which others have buried: lanes that nobody took meanwhile are free, and what its death was
/// counted against is not blamed any more. Gives how many messages these are, and which of them died of it meanwhile.
/// Made before the process registers again: from then on it would look like one that was started anew.
pub(crate) async fn prove_alive(db: &Db, was: Uuid) -> Result<(usize, Vec<dead_letters::Open>), DbError> {
    const DOING: &str = "taking back what a burial was counted against";
    let mut tx = db.begin(DOING).await?;
    // Lanes before rows, as everybody locks them; a take-over that still counts is waited for.
    let lanes = sqlx::query_scalar!(
        "select l.id from mailroom.lane l
          where l.owner = $1 or l.id in (select s.lane from mailroom.suspicion s where s.session = $1)
          order by l.id for update",
        was,
    );
    let lanes = lanes.fetch_all(&mut *tx).await.map_err(DbError::new(DOING))?;
    sqlx::query!(
        "update mailroom.lane l set owner = null, owned_since = null, free_since = clock_timestamp()
          where l.id = any($1::integer[]) and l.owner = $2",
        &lanes,
        was,
    )
    .execute(&mut *tx)
    .await
    .map_err(DbError::new(DOING))?;
    let cleared = sqlx::query_file!("src/db/hosts_prove_alive.sql", was);
    let cleared = cleared.fetch_all(&mut *tx).await.map_err(DbError::new(DOING))?;
    tx.commit().await?;
    let letters = cleared.iter().filter_map(|row| {
        let (origin, id) = ("inbox".to_owned(), row.letter?);
        Some(dead_letters::Open { id, origin, seq: row.seq, lane: row.lane })
    });
    Ok((cleared.len(), letters.collect()))
}

/// Forgets what a burial was counted against, once what died of it is replayed.
pub(crate) async fn forget_suspicions(db: &Db, was: Uuid) -> Result<(), DbError> {
    sqlx::query!("delete from mailroom.suspicion where session = $1", was)
        .execute(db.pool())
        .await
        .map_err(DbError::new("forgetting what a burial was counted against"))?;
    Ok(())
}

/// Counts the hosts that share the lanes of the outbox.
pub(crate) async fn relaying(db: &Db) -> Result<i64, DbError> {
    let alive = sqlx::query_scalar!(
        r#"select count(*) as "alive!" from mailroom.host where relays and expires_at >= clock_timestamp()"#
    );
    alive.fetch_one(db.pool()).await.map_err(DbError::new("counting hosts"))
}

/// Takes the host's row away at the end of a graceful stop. Lanes that it has still, as those of which it did not know
/// that it took them, are given back: nobody died with them.
pub(crate) async fn depart(db: &Db, id: Uuid) -> Result<(), DbError> {
    sqlx::query!(
        "with departed as (delete from mailroom.host where id = $1 returning id),
              outlived as (delete from mailroom.host_key where host = $1)
         update mailroom.lane l set owner = null, owned_since = null, free_since = clock_timestamp()
           from departed where l.owner = departed.id",
        id,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("signing this host off"))?;
    Ok(())
}
