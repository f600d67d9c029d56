//! Reading the lanes of the outbox.

use std::time::Duration;

use uuid::Uuid;

use crate::db::{Db, DbError};
use crate::message::{Header, headers_from_json};

/// A row to publish.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) lane: i32,
    pub(crate) seq: i64,
    pub(crate) id: Uuid,
    pub(crate) topic: String,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) event_type: String,
    pub(crate) schema_version: Option<String>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) content_type: Option<String>,
    /// Or why they cannot be read, where somebody wrote nonsense.
    pub(crate) headers: Result<Vec<Header>, String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) causation_id: Option<String>,
    /// How long until it may be published; zero where it may.
    pub(crate) due_in: Duration,
}

/// What one look at the lanes saw.
#[derive(Debug)]
pub(crate) struct Page {
    /// In order of `seq` within each lane.
    pub(crate) rows: Vec<Pending>,
    /// The highest `seq` that was drawn by the time of the look.
    pub(crate) last_seq: i64,
    /// Transactions below it had ended when the look began.
    pub(crate) xmin: i64,
    /// The look's own transaction id, where it was to take one.
    pub(crate) own_id: Option<i64>,
}

/// Which rows to look for.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) lanes: Vec<i32>,
    /// Per lane: rows above it may have been committed late.
    pub(crate) late: Vec<i64>,
    /// Per lane: how far it was read.
    pub(crate) marks: Vec<i64>,
    /// Per lane: how many rows up to the mark are in hand.
    pub(crate) known: Vec<i32>,
    /// Topics whose rows wait.
    pub(crate) without: Vec<String>,
    /// Bound of new rows a lane.
    pub(crate) lane_rows_max: usize,
    /// Bound of rows in all.
    pub(crate) rows_max: usize,
    /// Whether to take a transaction id.
    pub(crate) sample: bool,
}

/// Pending rows of the lanes, a prefix of what each has.
pub(crate) async fn read(db: &Db, look: &Look) -> Result<Page, DbError> {
    let bound = |rows: usize| i64::try_from(rows).unwrap_or(i64::MAX);
    let rows = sqlx::query_file!(
        "src/outbox/read.sql",
        &look.lanes,
        &look.late,
        &look.marks,
        &look.known,
        &look.without,
        bound(look.lane_rows_max),
        bound(look.rows_max),
        look.sample,
    );
    let rows = rows.fetch_all(db.pool()).await.map_err(DbError::new("reading the outbox"))?;
    let (last_seq, xmin, own_id) =
        rows.first().map_or((0, 0, None), |row| (row.last_seq, row.xmin, row.own_id));
    let pending = rows.into_iter().filter_map(|row| {
        Some(Pending {
            lane: row.lane?,
            seq: row.seq?,
            id: row.id?,
            topic: row.topic?,
            key: row.key,
            event_type: row.event_type?,
            schema_version: row.schema_version,
            payload: row.payload,
            content_type: row.content_type,
            headers: row.headers.as_ref().map_or(Ok(Vec::new()), headers_from_json),
            trace_id: row.trace_id,
            traceparent: row.traceparent,
            correlation_id: row.correlation_id,
            causation_id: row.causation_id,
            due_in: Duration::try_from_secs_f64(row.due_secs?).unwrap_or_default(),
        })
    });
    Ok(Page { rows: pending.collect(), last_seq, xmin, own_id })
}
