//! Lanes: opening, taking over, releasing.
//!
//! Whoever writes for a lane holds its row `for key share` with the token. A take-over holds it `for
//! update`, so it waits for no writer and no writer outlives it; an update of `started_to` changes no
//! key and disturbs neither.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Db, DbError, Tx};
use crate::lane::Lease;
use crate::pipeline::crashes::LOST_MAX;

/// A lane that is free for so long is anybody's, whatever its share: the host whose share it is may hang.
const LEFT_FREE_SECONDS: f64 = 1.0;

/// A lane that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) lane: i32,
    pub(crate) token: i64,
    pub(crate) reread: i64,
    /// Its owner died with it.
    pub(crate) abandoned: bool,
    /// The highest place that the inbox has given out: what the lane's owners wrote lies at or below it.
    pub(crate) last_seq: i64,
}

/// A lane of a host, as the table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) lane: i32,
    pub(crate) token: i64,
    pub(crate) reread: i64,
    /// Another host, to which Kafka gave the partition, waits for it.
    pub(crate) wanted: bool,
}

/// An inbox lane and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) lane: i32,
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

/// Those of the lanes that are ours, and stay so until the end of the transaction, with their reread
/// counters.
pub(crate) async fn fence(
    tx: &mut Tx,
    leases: impl Iterator<Item = &Lease>,
) -> Result<HashMap<i32, i64>, DbError> {
    let (lanes, tokens): (Vec<i32>, Vec<i64>) = leases.map(|lease| (lease.lane, lease.token)).unzip();
    let ours = sqlx::query!(
        "select l.id, l.reread from unnest($1::integer[], $2::bigint[]) w(id, token)
           join mailroom.lane l on l.id = w.id and l.token = w.token
          order by l.id for key share of l",
        &lanes,
        &tokens,
    );
    let ours = ours.fetch_all(&mut **tx).await.map_err(DbError::new("fencing lanes"))?;
    Ok(ours.into_iter().map(|lane| (lane.id, lane.reread)).collect())
}

/// The lanes of these partitions, made where there is none.
pub(crate) async fn open(
    db: &Db,
    group: &str,
    topics: &[String],
    partitions: &[i32],
) -> Result<Vec<Opened>, DbError> {
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
    sqlx::query_as!(
        Opened,
        r#"select l.id as lane, w.topic as "topic!", w.partition as "partition!"
             from unnest($2::text[], $3::integer[]) w(topic, partition)
             join mailroom.lane l on l.consumer_group = $1 and l.topic = w.topic and l.partition = w.partition"#,
        group,
        topics,
        partitions,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("opening lanes"))
}

/// Inbox lanes of a group that have no live owner, of topics that this host's version takes: as many as are this
/// host's share of them beyond the `held` that it has, and those that others leave free. Kafka may not have given
/// their partitions to anybody yet. Lanes of other topics wait for a host whose version takes them.
pub(crate) async fn free_inbox(
    db: &Db,
    group: &str,
    topics: &[String],
    held: i64,
) -> Result<Vec<Opened>, DbError> {
    sqlx::query_as!(
        Opened,
        r#"with share as (
               select ceil(count(*)::numeric / greatest(1, (
                          select count(*) from mailroom.handler r join mailroom.host h on h.id = r.host
                           where r.consumer_group = $1 and r.state = 'running'
                             and h.expires_at >= clock_timestamp())))::bigint as lanes
                 from mailroom.lane where consumer_group = $1 and topic = any($4))
           select free.id as lane, free.topic as "topic!", free.partition as "partition!" from (
               select l.id, l.topic, l.partition, l.free_since, row_number() over (order by l.id) as place
                 from mailroom.lane l
                where l.consumer_group = $1 and l.topic = any($4)
                  and (l.owner is null or not exists (select 1 from mailroom.host h where h.id = l.owner))
           ) free
            where free.place <= (select lanes from share) - $2
               or free.free_since < clock_timestamp() - make_interval(secs => $3)
            order by free.id"#,
        group,
        held,
        LEFT_FREE_SECONDS,
        topics,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("looking for free lanes"))
}

/// Asks for lanes that other hosts have, since Kafka gave us their partitions; wakes their owners.
pub(crate) async fn want(db: &Db, host: Uuid, lanes: &[i32]) -> Result<(), DbError> {
    sqlx::query!(
        r#"with wanted as (
               update mailroom.lane l set wanted_by = $2 from unnest($1::integer[]) w(id)
                where l.id = w.id and l.owner <> $2 and l.wanted_by is distinct from $2
               returning 1)
           select pg_notify($3, '') as "told?" from wanted limit 1"#,
        lanes,
        host,
        super::wake::INBOX,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("asking for lanes"))?;
    Ok(())
}

/// Takes those of `lanes` that have no live owner. Others are left out, and so are lanes that a
/// settlement still holds: they are asked for again. What a dead owner may have begun counts as lost with it.
pub(crate) async fn take(db: &Db, host: Uuid, lanes: &[i32]) -> Result<Vec<Taken>, DbError> {
    let failed = || DbError::new("taking lanes");
    let mut tx = db.begin_about("taking lanes", lanes.iter().copied()).await?;
    // A host that was buried meanwhile takes nothing.
    let alive = sqlx::query_scalar!("select id from mailroom.host where id = $1 for key share", host);
    if alive.fetch_optional(&mut *tx).await.map_err(failed())?.is_none() {
        tx.roll_back().await;
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
    if ids.is_empty() {
        // Its locks alone would make a commit wait for a standby that is away.
        tx.roll_back().await;
        return Ok(Vec::new());
    }
    let abandoned: Vec<i32> = free.iter().filter(|lane| lane.abandoned).map(|lane| lane.id).collect();
    let taken = sqlx::query!(
        "update mailroom.lane l set owner = $2, token = l.token + 1, owned_since = clock_timestamp(),
                wanted_by = null, free_since = null
           from unnest($1::integer[]) w(id) where l.id = w.id
         returning l.id, l.token, l.reread",
        &ids,
        host,
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(failed())?;
    // Read after the lanes are ours: their last owners write nothing any more.
    let last_seq = sqlx::query_scalar!(
        // One that gave nothing yet has its first value there.
        r#"select case when is_called then last_value else 0 end as "last!" from mailroom.inbox_seq_seq"#
    );
    let last_seq = last_seq.fetch_one(&mut *tx).await.map_err(failed())?;
    let taken = taken.into_iter().map(|lane| Taken {
        lane: lane.id,
        token: lane.token,
        reread: lane.reread,
        abandoned: abandoned.contains(&lane.id),
        last_seq,
    });
    let taken: Vec<Taken> = taken.collect();
    if !abandoned.is_empty() {
        let lost_max = i32::try_from(LOST_MAX).unwrap_or(i32::MAX);
        sqlx::query_file!("src/db/lanes_abandoned.sql", &abandoned, lost_max)
            .execute(&mut *tx)
            .await
            .map_err(failed())?;
    }
    tx.commit().await?;
    Ok(taken)
}

/// Notes that the messages of these lanes up to a `seq` are begun; gives the lanes that are still ours, and up to
/// where they are.
pub(crate) async fn begin(db: &Db, lanes: Vec<(Lease, i64)>) -> Result<Vec<(i32, i64)>, DbError> {
    let rows = sqlx::query!(
        "update mailroom.lane l set started_to = greatest(l.started_to, w.begun)
           from unnest($1::integer[], $2::bigint[], $3::bigint[]) w(id, token, begun)
          where l.id = w.id and l.token = w.token
         returning l.id, l.started_to",
        &lanes.iter().map(|(lease, _)| lease.lane).collect::<Vec<_>>(),
        &lanes.iter().map(|(lease, _)| lease.token).collect::<Vec<_>>(),
        &lanes.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(),
    );
    let rows = rows.fetch_all(db.pool()).await.map_err(DbError::new("noting that messages are begun"))?;
    Ok(rows.into_iter().map(|lane| (lane.id, lane.started_to)).collect())
}

/// Outbox lanes that have no live owner: `room` of them, and those that others leave free.
pub(crate) async fn free_outbox(db: &Db, room: i64) -> Result<Vec<i32>, DbError> {
    sqlx::query_scalar!(
        "select free.id from (
             select l.id, l.free_since, row_number() over (order by l.id) as place from mailroom.lane l
              where l.kind = 'outbox'
                and (l.owner is null or not exists (select 1 from mailroom.host h where h.id = l.owner))
         ) free
          where free.place <= $1 or free.free_since < clock_timestamp() - make_interval(secs => $2)
          order by free.id",
        room,
        LEFT_FREE_SECONDS,
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
    .execute(db.about("releasing lanes", lanes))
    .await
    .map_err(DbError::new("releasing lanes"))?;
    Ok(())
}
