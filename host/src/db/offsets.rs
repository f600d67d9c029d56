//! The offset rows: how far each partition was read. The truth, moved with the rows it covers.

use mailroom_core::ids::LaneId;
use uuid::Uuid;

use super::{Conn, Db, DbError};

/// The offset row of a partition that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) topic_id: Option<Uuid>,
    pub(crate) next_offset: i64,
    pub(crate) epoch: i64,
}

/// Progress of a lane's partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) lane: i32,
    /// The first offset that is not stored.
    pub(crate) stored: i64,
    /// The first offset that is not settled; never beyond the other.
    pub(crate) settled: i64,
}

/// Looks how far the partitions of these lanes are: up to the first row that is pending, ready or held. Followers of a
/// key that is blocked behind a dead letter may lie anywhere behind it, so the partition counts as settled up to the
/// letter.
pub(crate) async fn reached(db: &Db, group: &str, lanes: &[LaneId]) -> Result<Vec<Reached>, DbError> {
    sqlx::query_as!(
        Reached,
        r#"select l.id as lane, o.next_offset as stored,
                  least(o.next_offset, ready."offset", held."offset", blocked."offset") as "settled!"
             from unnest($2::integer[]) w(id) join mailroom.lane l on l.id = w.id
             join mailroom.partition_offset o
               on o.consumer_group = $1 and o.topic = l.topic and o.partition = l.partition
             left join lateral (
                  select m."offset" from mailroom.inbox m
                   where m.lane = l.id and m.status = 'pending' and not m.held order by m.seq limit 1) ready on true
             left join lateral (
                  select m."offset" from mailroom.inbox m
                   where m.lane = l.id and m.held order by m.seq limit 1) held on true
             left join lateral (
                  select min(b."offset") + 1 as "offset" from mailroom.blocked_key b
                   where b.lane = l.id and b.policy = 'block') blocked on true"#,
        group,
        &lanes.iter().map(|lane| lane.0).collect::<Vec<_>>(),
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("looking how far partitions are"))
}

/// Takes the rows over; an advance with an older epoch is refused from now on. Partitions that were
/// never read have none.
pub(crate) async fn take_over(
    db: &Db,
    host: Uuid,
    group: &str,
    topics: &[String],
    partitions: &[i32],
) -> Result<Vec<Position>, DbError> {
    sqlx::query_as!(
        Position,
        "update mailroom.partition_offset o
            set epoch = o.epoch + 1, owner = $2, stopped_at = null, stopped_reason = null
           from unnest($3::text[], $4::integer[]) w(topic, partition)
          where o.consumer_group = $1 and o.topic = w.topic and o.partition = w.partition
         returning o.topic, o.partition, o.topic_id, o.next_offset, o.epoch",
        group,
        host,
        topics,
        partitions,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("taking partitions over"))
}

/// Begins a topic: writes that it is begun and where all its partitions start, or, where another host has begun it,
/// nothing.
pub(crate) async fn begin_topic(
    db: &Db,
    group: &str,
    topic: &str,
    topic_id: Uuid,
    starts: &[(i32, i64)],
) -> Result<(), DbError> {
    let doing = "beginning a topic";
    let mut tx = db.begin(doing).await?;
    // A host that begins it at the same time is waited for.
    let begun = sqlx::query!(
        "insert into mailroom.topic_start (consumer_group, topic, topic_id) values ($1, $2, $3)
             on conflict do nothing",
        group,
        topic,
        topic_id,
    );
    if begun.execute(&mut *tx).await.map_err(DbError::new(doing))?.rows_affected() == 1 {
        start(&mut tx, group, topic, topic_id, starts).await?;
    }
    tx.commit().await
}

/// Writes where partitions start that were added to a topic that is begun.
pub(crate) async fn begin_partitions(
    db: &Db,
    group: &str,
    topic: &str,
    topic_id: Uuid,
    starts: &[(i32, i64)],
) -> Result<(), DbError> {
    let mut connection = db.conn("beginning partitions").await?;
    start(&mut connection, group, topic, topic_id, starts).await
}

/// A row that is there already stays.
async fn start(
    connection: &mut Conn,
    group: &str,
    topic: &str,
    topic_id: Uuid,
    starts: &[(i32, i64)],
) -> Result<(), DbError> {
    let (partitions, offsets): (Vec<i32>, Vec<i64>) = starts.iter().copied().unzip();
    sqlx::query!(
        "insert into mailroom.partition_offset (consumer_group, topic, partition, topic_id, next_offset)
         select $1, $2, w.partition, $3, w.next from unnest($4::integer[], $5::bigint[]) w(partition, next)
             on conflict do nothing",
        group,
        topic,
        topic_id,
        &partitions,
        &offsets,
    )
    .execute(connection)
    .await
    .map_err(DbError::new("writing where partitions start"))?;
    Ok(())
}

/// Returns those of the topics that the group has begun.
pub(crate) async fn begun(db: &Db, group: &str, topics: &[String]) -> Result<Vec<String>, DbError> {
    sqlx::query_scalar!(
        "select topic from mailroom.topic_start where consumer_group = $1 and topic = any($2)",
        group,
        topics,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("looking for topics that are begun"))
}

/// Writes the topic's id to a row that was made before it was known.
pub(crate) async fn learn_topic_id(
    db: &Db,
    group: &str,
    topic: &str,
    partition: i32,
    epoch: i64,
    topic_id: Uuid,
) -> Result<(), DbError> {
    sqlx::query!(
        "update mailroom.partition_offset set topic_id = $5
          where consumer_group = $1 and topic = $2 and partition = $3 and epoch = $4",
        group,
        topic,
        partition,
        epoch,
        topic_id,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("writing the id of a topic"))?;
    Ok(())
}

/// A record that was stored: its offset, time and key.
pub(crate) type StoredRecord = (i64, i64, Option<Vec<u8>>);

/// The records that were stored under these ids, which are their places in the log.
pub(crate) async fn stored_at(db: &Db, group: &str, places: &[String]) -> Result<Vec<StoredRecord>, DbError> {
    let rows = sqlx::query!(
        r#"select i."offset", i.produced_at_ms, i.key
             from unnest($2::text[]) w(place)
             join mailroom.inbox i on i.message_id = w.place and i.consumer_group = $1"#,
        group,
        places,
    );
    let rows =
        rows.fetch_all(db.pool()).await.map_err(DbError::new("looking for records that are stored"))?;
    Ok(rows.into_iter().map(|row| (row.offset, row.produced_at_ms, row.key)).collect())
}

/// Notes for people that the partition is stopped. Whoever takes it over judges anew.
pub(crate) async fn stop(
    db: &Db,
    group: &str,
    topic: &str,
    partition: i32,
    epoch: i64,
    reason: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        "update mailroom.partition_offset set stopped_at = clock_timestamp(), stopped_reason = $5
          where consumer_group = $1 and topic = $2 and partition = $3 and epoch = $4",
        group,
        topic,
        partition,
        epoch,
        reason,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("noting that a partition is stopped"))?;
    Ok(())
}

/// Moves a partition's row by hand of the gap policy.
pub(crate) async fn skip_to(
    db: &Db,
    group: &str,
    topic: &str,
    partition: i32,
    epoch: i64,
    topic_id: Uuid,
    next_offset: i64,
) -> Result<bool, DbError> {
    let moved = sqlx::query!(
        "update mailroom.partition_offset set next_offset = $6, topic_id = $5, updated_at = clock_timestamp()
          where consumer_group = $1 and topic = $2 and partition = $3 and epoch = $4",
        group,
        topic,
        partition,
        epoch,
        topic_id,
        next_offset,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("skipping a gap"))?;
    Ok(moved.rows_affected() == 1)
}
