//! The outbox for people: lists, single messages, and publishing by hand through `mailroom.publish`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::db::{Db, DbError};

/// Filter for messages; what is `None` does not narrow.
#[derive(Debug)]
pub(crate) struct Filter {
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
    pub(crate) topic: String,
    pub(crate) event_type: String,
    pub(crate) status: String,
    pub(crate) failed_reason: Option<String>,
    pub(crate) held: bool,
    pub(crate) last_error: Option<String>,
    pub(crate) published_partition: Option<i32>,
    pub(crate) published_offset: Option<i64>,
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

/// A message written by hand.
#[derive(Debug)]
pub(crate) struct ByHand {
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    pub(crate) event_type: String,
    /// JSON text; `None` is a tombstone.
    pub(crate) payload: Option<String>,
    /// A JSON object of texts.
    pub(crate) headers: Option<Value>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) delay: Option<Duration>,
}

/// The newest messages first.
pub(crate) async fn list(db: &Db, filter: &Filter) -> Result<Vec<Listed>, DbError> {
    sqlx::query_as!(
        Listed,
        "select o.id, o.topic, o.event_type, o.status, o.failed_reason, o.held, o.last_error,
                o.published_partition, o.published_offset, o.scheduled_at, o.created_at
           from mailroom.outbox o
          where o.created_at >= statement_timestamp() - make_interval(secs => $1)
            and ($2::text is null or o.topic = $2)
            and ($3::text is null or o.status = $3)
            and ($5::text is null or o.key = convert_to($5, 'utf8'))
          order by o.created_at desc, o.seq desc limit $4",
        filter.since.as_secs_f64(),
        filter.topic.as_deref(),
        filter.status,
        filter.limit,
        filter.key.as_deref(),
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("listing the outbox"))
}

/// The message with this id.
pub(crate) async fn show(db: &Db, id: Uuid) -> Result<Option<Shown>, DbError> {
    sqlx::query_as!(
        Shown,
        r#"select to_jsonb(m) - array['key', 'payload', 'payload_json'] as "fields!", m.key, m.payload
             from mailroom.outbox_messages m where m.id = $1"#,
        id,
    )
    .fetch_optional(db.pool())
    .await
    .map_err(DbError::new("reading a message of the outbox"))
}

/// Publishes as any application does; gives the id, which is the first one's where the idempotency key
/// was used before.
///
/// # Errors
/// [`crate::db::Meaning::BadData`] where `mailroom.publish` refuses a field; its text names it.
pub(crate) async fn publish(db: &Db, message: &ByHand) -> Result<Uuid, DbError> {
    sqlx::query_scalar!(
        r#"select mailroom.publish(
               topic => $1, key => $2, event_type => $3, payload => $4::text::json, headers => $5,
               idempotency_key => $6, scheduled_at => clock_timestamp() + make_interval(secs => $7)) as "id!""#,
        message.topic,
        message.key.as_deref(),
        message.event_type,
        message.payload.as_deref(),
        message.headers,
        message.idempotency_key.as_deref(),
        message.delay.map(|delay| delay.as_secs_f64()),
    )
    .fetch_one(db.pool())
    .await
    .map_err(DbError::new("publishing"))
}
