//! Reading the lanes of the outbox.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt as _};
use tokio::time::Instant;
use uuid::Uuid;

use crate::db::{Db, DbError};
use crate::message::{Header, headers_from_json};
use mailroom_core::relay::{AsidePage, DuePage, Look, LookAside, LookDue, Page, Row, Snapshot};

/// Bytes that a record takes in a request beside its key, its value and its headers; more rather than less.
const RECORD_BYTES: usize = 64;
/// Bytes that each header takes beside its name and value; the names and ids that the host gives.
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
    /// Headers, or why they cannot be read, where somebody wrote nonsense.
    pub(crate) headers: Result<Vec<Header>, String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) causation_id: Option<String>,
    /// Age when it was read, by Postgres' clock, and that moment by ours. A scheduled one's counts from its
    /// time.
    pub(crate) age_when_read: Duration,
    pub(crate) read_at: Instant,
}

impl Pending {
    /// Returns its age, by one clock up to its reading and by another one since: what they differ in does not
    /// count.
    pub(crate) fn age(&self) -> Duration {
        self.age_when_read + self.read_at.elapsed()
    }

    /// Returns how many bytes its record has in a request, about.
    fn bytes(&self) -> usize {
        let headers = self.headers.iter().flatten();
        let headers = headers
            .map(|header| header.name.size() + header.value.as_ref().map_or(0, Vec::len) + HEADER_BYTES);
        let key_and_value = [&self.key, &self.payload].into_iter().flatten().map(Vec::len);
        RECORD_BYTES + OWN_HEADERS_BYTES + headers.chain(key_and_value).sum::<usize>()
    }

    /// The bytes that it takes in memory.
    fn memory(&self) -> usize {
        let optional = [
            &self.schema_version,
            &self.content_type,
            &self.trace_id,
            &self.traceparent,
            &self.correlation_id,
            &self.causation_id,
        ];
        let texts = self.event_type.len() + optional.into_iter().flatten().map(String::len).sum::<usize>();
        let data = [&self.key, &self.payload].into_iter().flatten().map(Vec::len).sum::<usize>();
        let headers = self.headers.iter().flatten().map(Header::bytes).sum::<usize>();
        size_of::<Self>() + texts + data + headers
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
            age_when_read: Duration::try_from_secs_f64($row.age_secs.unwrap_or(0.0)).unwrap_or_default(),
            read_at: Instant::now(),
        };
        let (lane, seq) = (pending.lane, pending.seq);
        let (bytes, memory, unfit) = (pending.bytes(), pending.memory(), $unfit(&pending));
        Some(Row { lane, seq, topic, bytes, memory, unfit, record: Arc::new(pending) })
    }};
}

/// Rows of a look, and whether some may have been left out for their bytes.
type Rows = (Vec<Row<Arc<Pending>>>, bool);

/// Takes rows in their order up to a bound of bytes. Those beyond it are not waited for: the connection is closed on them,
/// which costs less than to ask for their lengths each time.
async fn take<T>(
    stored: impl Stream<Item = Result<T, sqlx::Error>>,
    bytes_max: usize,
    mut read: impl FnMut(T) -> Option<Row<Arc<Pending>>>,
) -> Result<Rows, sqlx::Error> {
    let mut stored = std::pin::pin!(stored);
    let (mut rows, mut room) = (Vec::new(), bytes_max);
    while room > 0
        && let Some(row) = stored.try_next().await?
    {
        // What a look says beside rows comes without one where there is none.
        let Some(row) = read(row) else { continue };
        room = room.saturating_sub(row.memory);
        rows.push(row);
    }
    Ok((rows, room == 0))
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
    let (mut snapshot, mut next_due, mut topic): (_, _, Option<Arc<str>>) = (None, None, None);
    let rows = take(rows.fetch(&mut conn), look.bytes_max, |row| {
        if snapshot.is_none() {
            next_due = row.next_due_secs.map(wait);
            snapshot = Some(Snapshot {
                server: row.server,
                last_seq: row.last_seq,
                xmax: row.xmax,
                own_id: row.own_id,
                open: row.open,
                ended: row.ended,
            });
        }
        pending!(row, topic, unfit)
    });
    let (rows, is_cut) = rows.await.map_err(DbError::new("reading the outbox"))?;
    Ok(Page { rows, is_cut, snapshot: snapshot.unwrap_or_default(), next_due })
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
    let mut conn = db.conn(doing).await?;
    let (mut server, mut next_due, mut topic): (_, _, Option<Arc<str>>) = (0, None, None);
    let rows = take(rows.fetch(&mut conn), look.bytes_max, |row| {
        (server, next_due) = (row.server, row.next_due_secs.map(wait));
        pending!(row, topic, unfit)
    });
    let (rows, is_cut) = rows.await.map_err(DbError::new(doing))?;
    Ok(DuePage { server, rows, is_cut, next_due })
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
    let mut conn = db.conn(doing).await?;
    let (mut server, mut topic): (_, Option<Arc<str>>) = (None, None);
    let rows = take(rows.fetch(&mut conn), look.bytes_max, |row| {
        server = Some(row.server);
        pending!(row, topic, unfit)
    });
    let (rows, is_cut) = rows.await.map_err(DbError::new(doing))?;
    Ok(AsidePage { server, rows, is_cut })
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
