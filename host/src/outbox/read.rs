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
    /// In order of `seq`.
    pub(crate) rows: Vec<Pending>,
    pub(crate) snapshot: Snapshot,
}

/// What a look's snapshot says of other transactions.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// The highest `seq` that was drawn by the time of the look.
    pub(crate) last_seq: i64,
    /// No transaction from it on had ended when the look began; those below it that had not are known.
    pub(crate) xmax: i64,
    /// The look's own transaction id, where it was to take one.
    pub(crate) own_id: Option<i64>,
    /// Transactions that had not ended, lowest first, as far as they were asked for.
    pub(crate) open: Vec<i64>,
    /// Those of [`Look::stragglers`] that had.
    pub(crate) ended: Vec<i64>,
}

/// Which rows to look for.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) lanes: Vec<i32>,
    /// Per lane: rows above it are looked for.
    pub(crate) late: Vec<i64>,
    /// Per lane: bound of rows.
    pub(crate) bounds: Vec<i64>,
    /// Topics whose rows wait.
    pub(crate) without: Vec<String>,
    /// Bound of rows in all.
    pub(crate) rows_max: usize,
    /// Transactions that may have ended, and per transaction: rows above it are looked for if so.
    pub(crate) stragglers: Vec<i64>,
    pub(crate) floors: Vec<i64>,
    /// Whether to take a transaction id.
    pub(crate) sample: bool,
    /// Open transactions below this id are named, at most so many.
    pub(crate) open_below: i64,
    pub(crate) open_max: i64,
}

/// Pending rows of the lanes, a prefix of what each has.
pub(crate) async fn read(db: &Db, look: &Look) -> Result<Page, DbError> {
    let rows = sqlx::query_file!(
        "src/outbox/read.sql",
        &look.lanes,
        &look.late,
        &look.bounds,
        &look.without,
        i64::try_from(look.rows_max).unwrap_or(i64::MAX),
        &look.stragglers,
        &look.floors,
        look.sample,
        look.open_below,
        look.open_max,
    );
    let mut conn = db.conn("reading the outbox").await?;
    let mut rows = rows.fetch_all(&mut conn).await.map_err(DbError::new("reading the outbox"))?;
    let snapshot = rows.first_mut().map_or_else(Snapshot::default, |row| Snapshot {
        last_seq: row.last_seq,
        xmax: row.xmax,
        own_id: row.own_id,
        open: std::mem::take(&mut row.open),
        ended: std::mem::take(&mut row.ended),
    });
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
            headers: row.headers.as_deref().map_or(Ok(Vec::new()), headers_from_json),
            trace_id: row.trace_id,
            traceparent: row.traceparent,
            correlation_id: row.correlation_id,
            causation_id: row.causation_id,
            due_in: Duration::try_from_secs_f64(row.due_secs?).unwrap_or_default(),
        })
    });
    Ok(Page { rows: pending.collect(), snapshot })
}
