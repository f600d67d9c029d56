//! The inbox for people: lists and single messages, read only.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::db::{Db, DbError};
use crate::message::id_time_ms;

/// Filter for messages; what is `None` does not narrow.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) handler: Option<String>,
    pub(crate) topic: Option<String>,
    /// Key as text; no index has it, so that a list reads all of its span of time.
    pub(crate) key: Option<String>,
    pub(crate) status: Option<&'static str>,
    /// Age since they were stored, at most: the index by that time makes a list cheap.
    pub(crate) since: Duration,
    pub(crate) limit: i64,
}

/// A message in a list.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) id: Uuid,
    pub(crate) message_id: String,
    pub(crate) consumer_group: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) event_type: String,
    pub(crate) status: String,
    pub(crate) outcome: Option<String>,
    pub(crate) failed_reason: Option<String>,
    pub(crate) held: bool,
    pub(crate) wakes: bool,
    pub(crate) attempts_made: i32,
    pub(crate) max_attempts: i32,
    pub(crate) deliveries: i32,
    pub(crate) last_error: Option<String>,
    pub(crate) scheduled_at: DateTime<Utc>,
    pub(crate) created_at: DateTime<Utc>,
}

/// A whole message.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Every column but key and payload.
    pub(crate) fields: Value,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
}

/// The newest messages first.
pub(crate) async fn list(db: &Db, filter: &Filter) -> Result<Vec<Listed>, DbError> {
    sqlx::query_as!(
        Listed,
        r#"select i.id, i.message_id, i.consumer_group, i.topic, i.partition, i."offset", i.event_type, i.status,
                  i.outcome, i.failed_reason, i.held, i.wakes, i.attempts_made, i.max_attempts, i.deliveries,
                  i.last_error, i.scheduled_at, i.created_at
             from mailroom.inbox i
            where i.created_at >= statement_timestamp() - make_interval(secs => $1)
              and ($2::text is null
                   or i.consumer_group in (select g.name from mailroom.consumer_group g where g.handler = $2))
              and ($3::text is null or i.topic = $3)
              and ($4::text is null or i.status = $4)
              and ($6::text is null or i.key = convert_to($6, 'utf8'))
            order by i.created_at desc, i.seq desc limit $5"#,
        filter.since.as_secs_f64(),
        filter.handler.as_deref(),
        filter.topic.as_deref(),
        filter.status,
        filter.limit,
        filter.key.as_deref(),
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("listing the inbox"))
}

/// The messages with this id of their producer, one for each group that took it; else the row with this id.
pub(crate) async fn show(db: &Db, id: &str) -> Result<Vec<Shown>, DbError> {
    let found = sqlx::query_as!(
        Shown,
        r#"select to_jsonb(m) - array['key', 'payload', 'payload_json'] as "fields!", m.key, m.payload
             from mailroom.inbox_messages m where m.message_id = $1 order by m.consumer_group"#,
        id,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("reading a message of the inbox"))?;
    let Ok(row) = id.parse::<Uuid>() else { return Ok(found) };
    if !found.is_empty() {
        return Ok(found);
    }
    // No index holds row ids. They have the time of their record, which is about that of the row unless the record
    // waited on Kafka; and the row's time has an index.
    match row_around(db, row, made_at(row)).await? {
        Some(shown) => Ok(vec![shown]),
        None => Ok(row_around(db, row, None).await?.into_iter().collect()),
    }
}

async fn row_around(db: &Db, row: Uuid, made_at: Option<DateTime<Utc>>) -> Result<Option<Shown>, DbError> {
    sqlx::query_as!(
        Shown,
        r#"select to_jsonb(m) - array['key', 'payload', 'payload_json'] as "fields!", m.key, m.payload
             from mailroom.inbox_messages m
            where m.id = $1 and m.created_at >= coalesce($2::timestamptz - interval '1 hour', '-infinity')
              and m.created_at <= coalesce($2::timestamptz + interval '1 hour', 'infinity') limit 1"#,
        row,
        made_at,
    )
    .fetch_optional(db.pool())
    .await
    .map_err(DbError::new("reading a message of the inbox"))
}

/// The time inside an id.
fn made_at(id: Uuid) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(id_time_ms(id)?)
}
