//! Reading the lanes of the outbox.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::db::{Db, DbError};
use crate::message::{Header, headers_from_json};
use mailroom_core::relay::{AsidePage, DuePage, Look, LookAside, LookDue, Page, Row, Snapshot};

/// What a record takes in a request beside its key, its value and its headers; more rather than less.
const RECORD_BYTES: usize = 64;
/// And each header beside its name and value; the names and ids that the host gives.
const HEADER_BYTES: usize = 4;
const OWN_HEADERS_BYTES: usize = 160;

/// A row to publish.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) lane: i32,
    pub(crate) seq: i64,
    pub(crate) id: Uuid,
    pub(crate) topic: Arc<str>,
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
}

impl Pending {
    /// About how many bytes its record has in a request.
    fn bytes(&self) -> usize {
        let headers = self.headers.iter().flatten();
        let headers = headers
            .map(|header| header.name.size() + header.value.as_ref().map_or(0, Vec::len) + HEADER_BYTES);
        let key_and_value = [&self.key, &self.payload].into_iter().flatten().map(Vec::len);
        RECORD_BYTES + OWN_HEADERS_BYTES + headers.chain(key_and_value).sum::<usize>()
    }
}

/// A stored row as a row to publish; its topic's name is shared with the row before where it is the same.
macro_rules! pending {
    ($row:ident, $topic:ident, $unfit:expr) => {{
        let topic = $row.topic?;
        let topic: Arc<str> = match $topic.take() {
            Some(before) if *before == *topic => before,
            _ => topic.into(),
        };
        $topic = Some(Arc::clone(&topic));
        let pending = Pending {
            lane: $row.lane?,
            seq: $row.seq?,
            id: $row.id?,
            topic: Arc::clone(&topic),
            key: $row.key,
            event_type: $row.event_type?,
            schema_version: $row.schema_version,
            payload: $row.payload,
            content_type: $row.content_type,
            headers: $row.headers.as_deref().map_or(Ok(Vec::new()), headers_from_json),
            trace_id: $row.trace_id,
            traceparent: $row.traceparent,
            correlation_id: $row.correlation_id,
            causation_id: $row.causation_id,
        };
        let (lane, seq, bytes) = (pending.lane, pending.seq, pending.bytes());
        let unfit = $unfit(&pending);
        Some(Row { lane, seq, topic, bytes, unfit, record: Arc::new(pending) })
    }};
}

/// Says why no broker can take a row, where that can be seen.
pub(crate) type Unfit = fn(&Pending) -> Option<String>;

/// Reads the next rows of the lanes, a prefix of what each has.
pub(crate) async fn read(db: &Db, look: &Look, unfit: Unfit) -> Result<Page<Arc<Pending>>, DbError> {
    let without = names(&look.without);
    let rows = sqlx::query_file!(
        "src/outbox/read.sql",
        &look.lanes,
        &look.late,
        &look.bounds,
        &without,
        bound(look.rows_max),
        &look.stragglers,
        &look.floors,
        look.sample,
        look.open_below,
        look.open_max,
        look.schedule,
    );
    let mut conn = db.conn("reading the outbox").await?;
    let mut rows = rows.fetch_all(&mut conn).await.map_err(DbError::new("reading the outbox"))?;
    let snapshot = rows.first_mut().map_or_else(Snapshot::default, |row| Snapshot {
        server: row.server,
        last_seq: row.last_seq,
        xmax: row.xmax,
        own_id: row.own_id,
        open: std::mem::take(&mut row.open),
        ended: std::mem::take(&mut row.ended),
    });
    let next_due = rows.first().and_then(|row| row.next_due_secs).map(wait);
    let mut topic: Option<Arc<str>> = None;
    let rows = rows.into_iter().filter_map(|row| pending!(row, topic, unfit)).collect();
    Ok(Page { rows, snapshot, next_due })
}

/// Reads scheduled rows that are due.
pub(crate) async fn read_due(
    db: &Db,
    look: &LookDue,
    unfit: Unfit,
) -> Result<DuePage<Arc<Pending>>, DbError> {
    let without = names(&look.without);
    let rows = sqlx::query_file!(
        "src/outbox/read_due.sql",
        &look.lanes,
        &look.bounds,
        &without,
        bound(look.rows_max)
    );
    let doing = "reading scheduled rows of the outbox";
    let rows = rows.fetch_all(&mut db.conn(doing).await?).await.map_err(DbError::new(doing))?;
    // A row comes in any case.
    let server = rows.first().map_or(0, |row| row.server);
    let next_due = rows.first().and_then(|row| row.next_due_secs).map(wait);
    let mut topic: Option<Arc<str>> = None;
    let rows = rows.into_iter().filter_map(|row| pending!(row, topic, unfit)).collect();
    Ok(DuePage { server, rows, next_due })
}

/// Reads the first rows of one topic.
pub(crate) async fn read_aside(
    db: &Db,
    look: &LookAside,
    unfit: Unfit,
) -> Result<AsidePage<Arc<Pending>>, DbError> {
    let rows = sqlx::query_file!(
        "src/outbox/read_aside.sql",
        &look.lanes,
        &look.bounds,
        &*look.topic,
        bound(look.rows_max)
    );
    let doing = "reading a topic's rows of the outbox";
    let rows = rows.fetch_all(&mut db.conn(doing).await?).await.map_err(DbError::new(doing))?;
    let server = rows.first().map(|row| row.server);
    let mut topic: Option<Arc<str>> = None;
    let rows = rows.into_iter().filter_map(|row| pending!(row, topic, unfit)).collect();
    Ok(AsidePage { server, rows })
}

fn names(topics: &[Arc<str>]) -> Vec<String> {
    topics.iter().map(|topic| topic.to_string()).collect()
}

fn bound(rows_max: usize) -> i64 {
    i64::try_from(rows_max).unwrap_or(i64::MAX)
}

/// Rounds up to whole milliseconds, so that nothing is looked for early; zero where it is due.
fn wait(secs: f64) -> Duration {
    if secs <= 0.0 { Duration::ZERO } else { Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX) }
}
