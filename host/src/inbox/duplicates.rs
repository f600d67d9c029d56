//! Records that were dropped as duplicates, for people: the last hundred of each lane.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::browse::Filter;
use crate::db::{Db, DbError};

/// A record that was dropped, and the one that came first.
#[derive(Debug, Serialize)]
pub(crate) struct Duplicate {
    pub(crate) consumer_group: String,
    pub(crate) message_id: String,
    pub(crate) source: String,
    pub(crate) event_type: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) first_partition: i32,
    pub(crate) first_offset: i64,
    pub(crate) first_stored_at: DateTime<Utc>,
    /// True if key and payload are those of the first one.
    pub(crate) same_content: bool,
    pub(crate) dropped_at: DateTime<Utc>,
}

/// The newest first.
pub(crate) async fn list(db: &Db, filter: &Filter) -> Result<Vec<Duplicate>, DbError> {
    sqlx::query_as!(
        Duplicate,
        r#"select d.consumer_group, d.message_id, d.source, d.event_type, d.topic, d.partition, d."offset",
                  d.first_partition, d.first_offset, d.first_stored_at, d.same_content, d.dropped_at
             from mailroom.duplicate d
            where d.dropped_at >= statement_timestamp() - make_interval(secs => $1)
              and ($2::text is null
                   or d.consumer_group in (select g.name from mailroom.consumer_group g where g.handler = $2))
              and ($3::text is null or d.topic = $3)
            order by d.dropped_at desc, d.lane, d."offset" desc limit $4"#,
        filter.since.as_secs_f64(),
        filter.handler.as_deref(),
        filter.topic.as_deref(),
        filter.limit,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("listing duplicates"))
}
