//! Rows by which `mailroom why` tells what something waits for.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Db, DbError};

const DOING: &str = "looking for what it waits for";

/// A row of the inbox or of the outbox.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) seq: i64,
    pub(crate) lane: i32,
    pub(crate) okey: Option<i64>,
    /// The producer's id of a message of the inbox.
    pub(crate) message_id: Option<String>,
    /// None of the outbox.
    pub(crate) consumer_group: Option<String>,
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
    pub(crate) offset: Option<i64>,
    pub(crate) published_partition: Option<i32>,
    pub(crate) published_offset: Option<i64>,
    pub(crate) status: String,
    pub(crate) outcome: Option<String>,
    pub(crate) outcome_reason: Option<String>,
    pub(crate) failed_reason: Option<String>,
    pub(crate) attempts_made: i32,
    pub(crate) max_attempts: i32,
    pub(crate) last_error: Option<String>,
    pub(crate) scheduled_at: DateTime<Utc>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    pub(crate) key: Option<Vec<u8>>,
}

impl Row {
    /// Reads a row's columns.
    ///
    /// # Errors
    /// Where they are not those of inbox or outbox.
    pub(crate) fn read(fields: Value, key: Option<Vec<u8>>) -> Result<Self, serde_json::Error> {
        let row: Self = serde_json::from_value(fields)?;
        Ok(Self { key, ..row })
    }

    /// Tells whether it is a message from Kafka.
    pub(crate) fn is_of_inbox(&self) -> bool {
        self.consumer_group.is_some()
    }
}

/// A key's block.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Blocked {
    /// `block` or `park`.
    pub(crate) policy: String,
    pub(crate) blocked_at: DateTime<Utc>,
    /// The open letter, and its message.
    pub(crate) letter: Option<Uuid>,
    pub(crate) message: Option<Uuid>,
}

/// The server by its own account.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Server {
    pub(crate) now: DateTime<Utc>,
    /// Moment since which a commit waits for a standby.
    pub(crate) standby_since: Option<DateTime<Utc>>,
}

/// Columns as JSON, and the key's bytes.
type Columns = (Value, Option<Vec<u8>>);

fn rows(columns: Vec<Columns>) -> Result<Vec<Row>, DbError> {
    let read = columns.into_iter().map(|(fields, key)| Row::read(fields, key));
    read.collect::<Result<_, _>>().map_err(|error| DbError::new(DOING)(sqlx::Error::Decode(error.into())))
}

/// The first pending messages of these keys of the inbox, by lane and hash, each before a `seq`.
pub(crate) async fn first_of_keys(db: &Db, keys: &[(i32, i64)], before: i64) -> Result<Vec<Row>, DbError> {
    let (lanes, hashes): (Vec<i32>, Vec<i64>) = keys.iter().copied().unzip();
    let first = sqlx::query_as::<_, Columns>(include_str!("why_first_of_keys.sql"))
        .bind(lanes)
        .bind(hashes)
        .bind(vec![before; keys.len()])
        .fetch_all(db.pool());
    rows(first.await.map_err(DbError::new(DOING))?)
}

/// The first pending message of the outbox before a row, of the same lane and key.
pub(crate) async fn before_in_outbox(db: &Db, row: &Row) -> Result<Option<Row>, DbError> {
    let Some(okey) = row.okey else { return Ok(None) };
    let first = outbox_first(db, Some((row.lane, okey)), None, row.seq).await?;
    Ok(first.into_iter().find(|first| first.topic == row.topic))
}

/// The first pending messages of a key in the outbox, one for each topic.
pub(crate) async fn first_in_outbox(db: &Db, key: &[u8]) -> Result<Vec<Row>, DbError> {
    outbox_first(db, None, Some(key), i64::MAX).await
}

async fn outbox_first(
    db: &Db,
    place: Option<(i32, i64)>,
    key: Option<&[u8]>,
    before: i64,
) -> Result<Vec<Row>, DbError> {
    let first = sqlx::query_as::<_, Columns>(include_str!("why_outbox_first.sql"))
        .bind(place.map(|(lane, _)| lane))
        .bind(place.map(|(_, okey)| okey))
        .bind(key)
        .bind(before)
        .fetch_all(db.pool());
    rows(first.await.map_err(DbError::new(DOING))?)
}

/// The first pending message of a lane.
pub(crate) async fn first_of_lane(db: &Db, lane: i32) -> Result<Option<Row>, DbError> {
    let first = sqlx::query_as::<_, Columns>(include_str!("why_first_of_lane.sql")).bind(lane);
    let first = first.fetch_all(db.pool()).await.map_err(DbError::new(DOING))?;
    Ok(rows(first)?.into_iter().next())
}

/// Counts the messages of its lane that come before this one.
pub(crate) async fn before(db: &Db, row: &Row) -> Result<i64, DbError> {
    sqlx::query_scalar(include_str!("why_before.sql"))
        .bind(row.is_of_inbox())
        .bind(row.lane)
        .bind(row.seq)
        .fetch_one(db.pool())
        .await
        .map_err(DbError::new(DOING))
}

/// The dead letter behind which a key of the inbox waits.
pub(crate) async fn blocked(db: &Db, lane: i32, okey: i64) -> Result<Option<Blocked>, DbError> {
    sqlx::query_as(include_str!("why_blocked.sql"))
        .bind(lane)
        .bind(okey)
        .fetch_optional(db.pool())
        .await
        .map_err(DbError::new(DOING))
}

/// Asks the server for its time, and whether commits wait for a standby.
pub(crate) async fn server(db: &Db) -> Result<Server, DbError> {
    sqlx::query_as(include_str!("why_server.sql"))
        .fetch_one(db.pool())
        .await
        .map_err(DbError::new("asking Postgres for its time"))
}
