//! Reading rows of a lane: those that are ready in their order, and held ones with their keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt as _};
use mailroom_core::handler_machine::command::{Read, ReadWhat};
use mailroom_core::handler_machine::event::{InboxRow, RowsRead};
use mailroom_core::ids::{LaneId, Lease, OrderBy, OrderKey, Seq};
use uuid::Uuid;

use crate::db::{Conn, Db, DbError};
use crate::message::{Message, headers_from_json};

const READING_HELD: &str = "reading held messages";

/// Source of a lane's messages.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
}

/// Reads pending rows of a lane. Nothing comes of a lane that is no longer ours. `claimed` is said of all rows.
pub(crate) async fn read_rows(db: &Db, of: &Origin, read: &Read) -> Result<RowsRead, DbError> {
    match &read.what {
        ReadWhat::Lane { after } => read_lane(db, of, read, *after).await,
        ReadWhat::Keys { keys, up_to } => read_keys(db, of, read, keys, *up_to).await,
    }
}

async fn read_lane(db: &Db, of: &Origin, read: &Read, after: Seq) -> Result<RowsRead, DbError> {
    let Lease { lane, token } = read.lease;
    let rows = sqlx::query_as!(
        Row,
        r#"select seq, okey, id, message_id, partition, "offset", source, event_type, schema_version, key, payload,
                  content_type, headers::text, produced_at_ms, trace_id, traceparent, correlation_id, causation_id,
                  idempotency_key, attempts_made, max_attempts, deliveries, crashes, begun, held, wakes, unfit,
                  greatest(0, extract(epoch from scheduled_at - clock_timestamp()))::double precision as "due_secs!"
             from mailroom.inbox
            where lane = $1 and status = 'pending' and not held and seq > $3
              and exists (select 1 from mailroom.lane where id = $1 and token = $2)
            order by seq limit $4"#,
        lane.0,
        token.0,
        after.0,
        bound(read.limit),
    );
    let mut conn = db.conn("reading a lane").await?;
    let mut page = Page::new(read);
    let rows = rows.fetch(&mut conn).map_ok(|row| row.into_inbox_row(lane, of));
    page.take(rows).await.map_err(DbError::new("reading a lane"))?;
    let more_of_lane = page.is_full() || page.rows.len() >= read.limit;
    Ok(RowsRead { rows: page.rows, more: BTreeSet::new(), more_of_lane })
}

/// Rows up to a bound of bytes. Those beyond it are not waited for: the connection is closed on them.
struct Page {
    rows: Vec<InboxRow>,
    /// Bytes for which there is room.
    room: usize,
}

impl Page {
    fn new(read: &Read) -> Self {
        Self { rows: Vec::new(), room: read.bytes_max }
    }

    /// True if rows may have been left out for their bytes.
    fn is_full(&self) -> bool {
        self.room == 0
    }

    async fn take(
        &mut self,
        rows: impl Stream<Item = Result<InboxRow, sqlx::Error>>,
    ) -> Result<(), sqlx::Error> {
        let mut rows = std::pin::pin!(rows);
        while !self.is_full()
            && let Some(row) = rows.try_next().await?
        {
            self.room = self.room.saturating_sub(row.message.bytes());
            self.rows.push(row);
        }
        Ok(())
    }
}

async fn read_keys(
    db: &Db,
    of: &Origin,
    read: &Read,
    keys: &[(OrderBy, Seq)],
    up_to: Option<Seq>,
) -> Result<RowsRead, DbError> {
    let up_to = up_to.unwrap_or(Seq(i64::MAX));
    let keyed: Vec<(OrderKey, Seq)> =
        keys.iter().filter_map(|(order, after)| Some((order.key()?, *after))).collect();
    let keyless = keys.iter().filter_map(|(order, after)| match order {
        OrderBy::Nothing(seq) if seq > after && *seq <= up_to => Some(seq.0),
        OrderBy::Nothing(_) | OrderBy::Key(_) => None,
    });
    let keyless: Vec<i64> = keyless.collect();
    let mut conn = db.conn(READING_HELD).await?;
    let mut page = Page::new(read);
    if !keyed.is_empty() {
        read_keyed(&mut conn, of, read, &mut page, (&keyed, up_to)).await?;
    }
    let mut more = full(&page.rows, read.limit);
    if !page.is_full() && !keyless.is_empty() {
        read_keyless(&mut conn, of, read, &mut page, &keyless).await?;
    }
    if page.is_full() {
        let came: BTreeSet<i64> = page.rows.iter().map(|row| row.message.seq).collect();
        let left_out = keyless.iter().filter(|seq| !came.contains(seq));
        more.extend(left_out.map(|seq| OrderBy::Nothing(Seq(*seq))));
        more.extend(keyed.iter().map(|(key, _)| OrderBy::Key(*key)));
    }
    Ok(RowsRead { rows: page.rows, more, more_of_lane: false })
}

async fn read_keyed(
    conn: &mut Conn,
    of: &Origin,
    read: &Read,
    page: &mut Page,
    (keys, up_to): (&[(OrderKey, Seq)], Seq),
) -> Result<(), DbError> {
    let Lease { lane, token } = read.lease;
    let rows = sqlx::query_file_as!(
        Row,
        "src/inbox/read_keys.sql",
        lane.0,
        token.0,
        &keys.iter().map(|(key, _)| key.0).collect::<Vec<_>>(),
        &keys.iter().map(|(_, after)| after.0).collect::<Vec<_>>(),
        up_to.0,
        bound(read.limit),
    );
    let rows = rows.fetch(conn).map_ok(|row| row.into_inbox_row(lane, of));
    page.take(rows).await.map_err(DbError::new(READING_HELD))
}

async fn read_keyless(
    conn: &mut Conn,
    of: &Origin,
    read: &Read,
    page: &mut Page,
    seqs: &[i64],
) -> Result<(), DbError> {
    let Lease { lane, token } = read.lease;
    let rows = sqlx::query_file_as!(Row, "src/inbox/read_keyless.sql", lane.0, token.0, seqs);
    let rows = rows.fetch(conn).map_ok(|row| row.into_inbox_row(lane, of));
    page.take(rows).await.map_err(DbError::new(READING_HELD))
}

/// Keys of which as many rows came as were asked for.
fn full(rows: &[InboxRow], limit: usize) -> BTreeSet<OrderBy> {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for okey in rows.iter().filter_map(|row| row.message.okey) {
        *counts.entry(okey).or_default() += 1;
    }
    let full = counts.into_iter().filter(|(_, count)| *count >= limit);
    full.map(|(okey, _)| OrderBy::Key(OrderKey(okey))).collect()
}

/// A bound as Postgres takes it.
pub(super) fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A row as it is read.
#[derive(Debug)]
struct Row {
    seq: i64,
    okey: Option<i64>,
    id: Uuid,
    message_id: String,
    partition: i32,
    offset: i64,
    source: String,
    event_type: String,
    schema_version: Option<String>,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    content_type: Option<String>,
    headers: Option<String>,
    produced_at_ms: i64,
    trace_id: Option<String>,
    traceparent: Option<String>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    idempotency_key: Option<String>,
    attempts_made: i32,
    max_attempts: i32,
    deliveries: i32,
    crashes: i32,
    begun: bool,
    held: bool,
    wakes: bool,
    unfit: Option<String>,
    due_secs: f64,
}

impl Row {
    /// The row as the lane's machine takes it. One with headers that cannot be read, which somebody edited so, is
    /// unfit for that reason.
    fn into_inbox_row(self, lane: LaneId, of: &Origin) -> InboxRow {
        let headers = self.headers.as_deref().map_or(Ok(Vec::new()), headers_from_json);
        let unfit = self.unfit.or_else(|| headers.as_ref().err().cloned());
        let message = Message {
            seq: self.seq,
            lane: lane.0,
            okey: self.okey,
            id: self.id,
            message_id: self.message_id,
            consumer_group: Arc::clone(&of.group),
            topic: Arc::clone(&of.topic),
            partition: self.partition,
            offset: self.offset,
            source: self.source,
            event_type: self.event_type,
            schema_version: self.schema_version,
            key: self.key,
            payload: self.payload,
            content_type: self.content_type,
            headers: headers.unwrap_or_default(),
            produced_at_ms: self.produced_at_ms,
            trace_id: self.trace_id,
            traceparent: self.traceparent,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            idempotency_key: self.idempotency_key,
            attempts_made: count(self.attempts_made),
            attempts_max: count(self.max_attempts),
            deliveries: count(self.deliveries),
            crashes: count(self.crashes),
            begun: self.begun,
        };
        InboxRow {
            message: Arc::new(message),
            due_in: Duration::try_from_secs_f64(self.due_secs).unwrap_or_default(),
            held: self.held,
            wakes: self.wakes,
            unfit: unfit.map(Arc::from),
            claimed: true,
        }
    }
}

/// The checks of the table keep these from being negative.
fn count(column: i32) -> u32 {
    u32::try_from(column).unwrap_or(0)
}
