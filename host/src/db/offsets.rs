//! The offset rows: how far each partition was read. The truth, moved with the rows it covers.

use uuid::Uuid;

use super::{Db, DbError};

/// The offset row of a partition that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) topic_id: Option<Uuid>,
    pub(crate) next_offset: i64,
    pub(crate) epoch: i64,
}

/// How far a lane's partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) lane: i32,
    /// The first offset that is not stored.
    pub(crate) stored: i64,
    /// The first offset that is not settled; never beyond the other.
    pub(crate) settled: i64,
}

/// How far the partitions of these lanes are. Followers of a key that is blocked behind a dead letter may lie
/// anywhere behind it, so the partition counts as settled up to the letter.
pub(crate) async fn reached(db: &Db, group: &str, lanes: &[i32]) -> Result<Vec<Reached>, DbError> {
    sqlx::query_as!(
        Reached,
        r#"select l.id as lane, o.next_offset as stored,
                  least(o.next_offset, pending."offset", blocked."offset") as "settled!"
             from unnest($2::integer[]) w(id) join mailroom.lane l on l.id = w.id
             join mailroom.partition_offset o
               on o.consumer_group = $1 and o.topic = l.topic and o.partition = l.partition
             left join lateral (
                  select m."offset" from mailroom.inbox m
                   where m.lane = l.id and m.status = 'pending' and not m.held order by m.seq limit 1) pending on true
             left join lateral (
                  select min(b."offset") + 1 as "offset" from mailroom.blocked_key b
                   where b.lane = l.id and b.policy = 'block') blocked on true"#,
        group,
        lanes,
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
            set epoch = o.epoch + 1, owner = $2, updated_at = clock_timestamp()
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

/// Writes where reading starts, once: a row that is there already stays.
pub(crate) async fn start(
    db: &Db,
    group: &str,
    topic: &str,
    partition: i32,
    topic_id: Option<Uuid>,
    next_offset: i64,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into mailroom.partition_offset (consumer_group, topic, partition, topic_id, next_offset)
         values ($1, $2, $3, $4, $5) on conflict do nothing",
        group,
        topic,
        partition,
        topic_id,
        next_offset,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("writing where a partition starts"))?;
    Ok(())
}

/// Moves a partition's row by hand of the gap policy.
pub(crate) async fn skip_to(
    db: &Db,
    group: &str,
    topic: &str,
    partition: i32,
    epoch: i64,
    topic_id: Option<Uuid>,
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

/// Whether the group has read any partition of the topic: one that appears later then starts at 0.
pub(crate) async fn knows_topic(db: &Db, group: &str, topic: &str) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from mailroom.partition_offset
                          where consumer_group = $1 and topic = $2) as "known!""#,
        group,
        topic,
    )
    .fetch_one(db.pool())
    .await
    .map_err(DbError::new("looking for a topic's offsets"))
}
