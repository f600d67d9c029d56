//! Queries of `status`, each one statement that reads little: counts end at [`COUNTED_MAX`] a lane.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Db, DbError};
use crate::waits::Shown;

/// Pending messages of a lane that are counted; beyond, the number is "at least".
pub(crate) const COUNTED_MAX: i64 = 100_000;

/// A host process.
#[derive(Debug, Serialize)]
pub(crate) struct HostRow {
    pub(crate) worker: String,
    pub(crate) version: String,
    pub(crate) up_secs: f64,
    /// Negative where the host is dead and not buried yet.
    pub(crate) expires_in_secs: f64,
    /// Waits at its last heartbeat, beside messages.
    pub(crate) waits: Json<Vec<Shown>>,
}

/// Backlog of a group's inbox, or of the outbox where there is no group.
#[derive(Debug, Serialize)]
pub(crate) struct Backlog {
    pub(crate) consumer_group: Option<String>,
    pub(crate) lanes: i64,
    /// Lanes that no living host works on.
    pub(crate) lanes_without_owner: i64,
    /// Messages that wait for nothing but their turn.
    pub(crate) pending: i64,
    /// Messages that wait for a time, as retries do.
    pub(crate) waiting: i64,
    /// Messages behind others of their key that wait, are blocked or fill memory, and those that no subscription takes.
    pub(crate) behind: i64,
    /// True if more wait than were counted.
    pub(crate) at_least: bool,
    /// Age of the oldest message that may run now; a retry's counts from its time.
    pub(crate) oldest_secs: Option<f64>,
    /// The same of the lanes that a living host works on.
    pub(crate) oldest_owned_secs: Option<f64>,
}

/// A lane, and who works on it.
#[derive(Debug, Serialize)]
pub(crate) struct LaneRow {
    pub(crate) id: i32,
    /// `inbox` or `outbox`.
    pub(crate) kind: String,
    pub(crate) consumer_group: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) partition: Option<i32>,
    /// The host that owns it, dead or alive; none where it was given back or its owner was buried.
    pub(crate) worker: Option<String>,
    /// True if that host is alive.
    pub(crate) alive: bool,
    pub(crate) token: i64,
    pub(crate) owned_since: Option<DateTime<Utc>>,
    /// Time since when no living host works on it.
    pub(crate) free_since: Option<DateTime<Utc>>,
    /// Time since its owner has it, or nobody.
    pub(crate) since_secs: Option<f64>,
    pub(crate) started_to: i64,
    pub(crate) reread: i64,
    /// Number of times that an owner was in doubt about it and took it anew.
    pub(crate) doubts: i64,
    pub(crate) doubted_at: Option<DateTime<Utc>>,
    /// Time since then.
    pub(crate) doubted_secs: Option<f64>,
    /// Records that were dropped since the group had their ids already.
    pub(crate) duplicates: i64,
    /// Moment of the last of these.
    pub(crate) duplicated_at: Option<DateTime<Utc>>,
}

/// Dead letters that nobody has replayed or discarded.
#[derive(Debug, Serialize)]
pub(crate) struct Deaths {
    pub(crate) origin: String,
    pub(crate) handler: Option<String>,
    pub(crate) reason: String,
    pub(crate) code: Option<String>,
    pub(crate) letters: i64,
}

/// Reading position of a partition.
#[derive(Debug, Serialize)]
pub(crate) struct Read {
    pub(crate) consumer_group: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Kafka's id of the topic that was read.
    #[serde(skip)]
    pub(crate) topic_id: Option<Uuid>,
    pub(crate) next_offset: i64,
    /// Moment at which the offset moved, or a host took the partition over.
    pub(crate) updated_at: DateTime<Utc>,
    /// Time since then.
    pub(crate) unmoved_secs: f64,
    /// Moment at which its host stopped reading it, until an operator acts.
    pub(crate) stopped_at: Option<DateTime<Utc>>,
    pub(crate) stopped_reason: Option<String>,
}

/// The partitions that are read, by their topics.
pub(crate) fn partitions(reads: &[Read]) -> BTreeMap<&str, BTreeSet<i32>> {
    let mut partitions: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for read in reads {
        partitions.entry(read.topic.as_str()).or_default().insert(read.partition);
    }
    partitions
}

/// The hosts, the youngest last.
pub(crate) async fn hosts(db: &Db) -> Result<Vec<HostRow>, DbError> {
    sqlx::query_as!(
        HostRow,
        r#"select worker, version,
                  extract(epoch from clock_timestamp() - started_at)::float8 as "up_secs!",
                  extract(epoch from expires_at - clock_timestamp())::float8 as "expires_in_secs!",
                  waits as "waits: Json<Vec<Shown>>"
             from mailroom.host order by started_at"#
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("reading hosts"))
}

/// Counts what waits, per group; each lane's rows by its partial indexes.
pub(crate) async fn backlog_inbox(db: &Db) -> Result<Vec<Backlog>, DbError> {
    sqlx::query_file_as!(Backlog, "src/db/status_inbox.sql", COUNTED_MAX)
        .fetch_all(db.pool())
        .await
        .map_err(DbError::new("counting the inbox"))
}

/// Counts what waits in the outbox, as one line. What is scheduled there counts as pending.
pub(crate) async fn backlog_outbox(db: &Db) -> Result<Backlog, DbError> {
    let counted = sqlx::query_file!("src/db/status_outbox.sql", COUNTED_MAX);
    let counted = counted.fetch_one(db.pool()).await.map_err(DbError::new("counting the outbox"))?;
    Ok(Backlog {
        consumer_group: counted.consumer_group,
        lanes: counted.lanes,
        lanes_without_owner: counted.lanes_without_owner,
        pending: counted.pending,
        waiting: 0,
        behind: counted.held,
        at_least: counted.at_least,
        oldest_secs: counted.oldest_secs,
        oldest_owned_secs: counted.oldest_owned_secs,
    })
}

/// Every lane; there are few.
pub(crate) async fn lanes(db: &Db) -> Result<Vec<LaneRow>, DbError> {
    sqlx::query_file_as!(LaneRow, "src/db/status_lanes.sql")
        .fetch_all(db.pool())
        .await
        .map_err(DbError::new("reading lanes"))
}

/// Counts the records of each group that were dropped within a day and were not what came first, of those that are kept.
pub(crate) async fn differing_duplicates(db: &Db) -> Result<Vec<(String, i64)>, DbError> {
    let groups = sqlx::query!(
        r#"select consumer_group, count(*) as "records!" from mailroom.duplicate
            where not same_content and dropped_at > statement_timestamp() - interval '1 day'
            group by consumer_group order by consumer_group"#
    );
    let groups = groups.fetch_all(db.pool()).await.map_err(DbError::new("counting duplicates"))?;
    Ok(groups.into_iter().map(|group| (group.consumer_group, group.records)).collect())
}

/// Open dead letters by what they died of.
pub(crate) async fn deaths(db: &Db) -> Result<Vec<Deaths>, DbError> {
    sqlx::query_as!(
        Deaths,
        r#"select origin, handler, reason, code, count(*) as "letters!"
             from mailroom.dead_letter where replayed_at is null and discarded_at is null
            group by origin, handler, reason, code order by count(*) desc, handler"#
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("counting dead letters"))
}

/// Counts the keys of each group that wait, or are parked, behind a dead letter; of all together so many at most.
pub(crate) async fn blocked_keys(db: &Db) -> Result<Vec<(String, i64)>, DbError> {
    let groups = sqlx::query!(
        r#"select consumer_group, count(*) as "keys!"
             from (select consumer_group from mailroom.blocked_key limit $1) counted
            group by consumer_group"#,
        COUNTED_MAX,
    );
    let groups = groups.fetch_all(db.pool()).await.map_err(DbError::new("counting blocked keys"))?;
    Ok(groups.into_iter().map(|group| (group.consumer_group, group.keys)).collect())
}

/// Returns how far each partition is read.
pub(crate) async fn offsets(db: &Db) -> Result<Vec<Read>, DbError> {
    sqlx::query_as!(
        Read,
        r#"select consumer_group, topic, partition, topic_id, next_offset, updated_at, stopped_at, stopped_reason,
                  extract(epoch from clock_timestamp() - updated_at)::float8 as "unmoved_secs!"
             from mailroom.partition_offset order by consumer_group, topic, partition"#
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("reading offsets"))
}
