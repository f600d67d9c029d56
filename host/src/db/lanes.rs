//! Lanes: opening, taking over, releasing.
//!
//! Whoever writes for a lane holds its row `for key share` with the token. A take-over holds it `for
//! update`, so it waits for no writer and no writer outlives it; an update of `started_to` changes no
//! key and disturbs neither.

use uuid::Uuid;

use super::{Db, DbError};

/// A lane that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) lane: i32,
    pub(crate) token: i64,
    pub(crate) reread: i64,
}

/// The lanes of these partitions, made where there is none.
pub(crate) async fn open(
    db: &Db,
    group: &str,
    topics: &[String],
    partitions: &[i32],
) -> Result<Vec<(i32, String, i32)>, DbError> {
    sqlx::query!(
        "insert into mailroom.lane (kind, consumer_group, topic, partition)
         select 'inbox', $1, w.topic, w.partition from unnest($2::text[], $3::integer[]) w(topic, partition)
          where not exists (select 1 from mailroom.lane l
                             where l.consumer_group = $1 and l.topic = w.topic and l.partition = w.partition)
         on conflict do nothing",
        group,
        topics,
        partitions,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("opening lanes"))?;
    let lanes = sqlx::query!(
        r#"select l.id, w.topic as "topic!", w.partition as "partition!"
             from unnest($2::text[], $3::integer[]) w(topic, partition)
             join mailroom.lane l on l.consumer_group = $1 and l.topic = w.topic and l.partition = w.partition"#,
        group,
        topics,
        partitions,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("opening lanes"))?;
    Ok(lanes.into_iter().map(|lane| (lane.id, lane.topic, lane.partition)).collect())
}

/// Takes those of `lanes` that have no live owner. Others are left out, and so are lanes that a
/// settlement still holds: they are asked for again. A message that killed its process becomes a dead
/// letter, with a copy for the topic `dead_letters`.
pub(crate) async fn take(
    db: &Db,
    host: Uuid,
    lanes: &[i32],
    dead_letters: Option<&str>,
) -> Result<Vec<Taken>, DbError> {
    let failed = || DbError::new("taking lanes");
    let mut tx = db.pool().begin().await.map_err(failed())?;
    // A host that was buried meanwhile takes nothing.
    let alive = sqlx::query_scalar!("select id from mailroom.host where id = $1 for key share", host);
    if alive.fetch_optional(&mut *tx).await.map_err(failed())?.is_none() {
        return Ok(Vec::new());
    }
    let free = sqlx::query!(
        r#"select l.id, l.owner is not null and l.owner <> $2 as "abandoned!"
             from unnest($1::integer[]) w(id) join mailroom.lane l on l.id = w.id
            where l.owner is null or l.owner = $2
               or not exists (select 1 from mailroom.host h where h.id = l.owner)
            order by l.id for update of l skip locked"#,
        lanes,
        host,
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(failed())?;
    let ids: Vec<i32> = free.iter().map(|lane| lane.id).collect();
    let taken = sqlx::query_as!(
        Taken,
        "update mailroom.lane l set owner = $2, token = l.token + 1, owned_since = clock_timestamp(), free_since = null
           from unnest($1::integer[]) w(id) where l.id = w.id
         returning l.id as lane, l.token, l.reread",
        &ids,
        host,
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(failed())?;
    let abandoned: Vec<i32> = free.iter().filter(|lane| lane.abandoned).map(|lane| lane.id).collect();
    if !abandoned.is_empty() {
        let letters = sqlx::query_file_scalar!("src/db/lanes_abandoned.sql", &abandoned)
            .fetch_all(&mut *tx)
            .await
            .map_err(failed())?;
        crate::settle::copy_dead_letters(&mut tx, dead_letters, &letters).await?;
    }
    tx.commit().await.map_err(failed())?;
    Ok(taken)
}

/// Outbox lanes that have no live owner, at most `limit`.
pub(crate) async fn free_outbox(db: &Db, limit: i64) -> Result<Vec<i32>, DbError> {
    sqlx::query_scalar!(
        "select l.id from mailroom.lane l
          where l.kind = 'outbox'
            and (l.owner is null or not exists (select 1 from mailroom.host h where h.id = l.owner))
          order by l.id limit $1",
        limit,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("looking for free lanes"))
}

/// Gives lanes back and tells the other hosts, so that nobody has to wait for an expiry.
pub(crate) async fn release(db: &Db, lanes: &[i32], tokens: &[i64]) -> Result<(), DbError> {
    sqlx::query!(
        r#"with released as (
               update mailroom.lane l set owner = null, owned_since = null, free_since = clock_timestamp()
                 from unnest($1::integer[], $2::bigint[]) w(id, token) where l.id = w.id and l.token = w.token
               returning 1)
           select pg_notify($3, '') as "told?" from released limit 1"#,
        lanes,
        tokens,
        super::wake::INBOX,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("releasing lanes"))?;
    Ok(())
}

/// The reread counters of a host's lanes: where one has risen, the owner forgets its mark.
pub(crate) async fn rereads(db: &Db, host: Uuid) -> Result<Vec<Taken>, DbError> {
    sqlx::query_as!(Taken, "select id as lane, token, reread from mailroom.lane where owner = $1", host)
        .fetch_all(db.pool())
        .await
        .map_err(DbError::new("looking at this host's lanes"))
}
