//! Reading a lane: after a take-over, after more was stored than memory holds, after a reread.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use uuid::Uuid;

use crate::db::{Db, DbError};
use crate::lane::Lease;
use crate::message::{Message, headers_from_json};

/// A pending message of a lane.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) message: Arc<Message>,
    /// How long until it is due; zero where it is.
    pub(crate) due_in: Duration,
    /// Why no handler can have it: it came so, or somebody edited it into nonsense.
    pub(crate) nonsense: Option<String>,
}

/// Pending messages of the lane above `after`, in order, at most `limit`. Empty too where the lane is no longer
/// ours.
pub(crate) async fn read(
    db: &Db,
    lease: &Lease,
    group: &Arc<str>,
    topic: &Arc<str>,
    after: i64,
    limit: usize,
) -> Result<Vec<Found>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select seq, okey, id, message_id, partition, "offset", source, event_type, schema_version, key, payload,
                  content_type, headers::text, produced_at_ms, trace_id, traceparent, correlation_id, causation_id,
                  idempotency_key, attempts_made, max_attempts, deliveries, crashes, begun, unfit,
                  greatest(0, extract(epoch from scheduled_at - clock_timestamp()))::double precision as "due_secs!"
             from mailroom.inbox
            where lane = $1 and status = 'pending' and not held and seq > $3
              and exists (select 1 from mailroom.lane where id = $1 and token = $2)
            order by seq limit $4"#,
        lease.lane,
        lease.token,
        after,
        i64::try_from(limit).unwrap_or(i64::MAX),
    );
    let mut conn = db.conn("reading a lane").await?;
    let found = rows.fetch(&mut conn).map_ok(|row| message(row, lease.lane, group, topic));
    found.try_collect().await.map_err(DbError::new("reading a lane"))
}

/// A row as it is read.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) seq: i64,
    pub(super) okey: Option<i64>,
    pub(super) id: Uuid,
    pub(super) message_id: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) source: String,
    pub(super) event_type: String,
    pub(super) schema_version: Option<String>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) payload: Option<Vec<u8>>,
    pub(super) content_type: Option<String>,
    pub(super) headers: Option<String>,
    pub(super) produced_at_ms: i64,
    pub(super) trace_id: Option<String>,
    pub(super) traceparent: Option<String>,
    pub(super) correlation_id: Option<String>,
    pub(super) causation_id: Option<String>,
    pub(super) idempotency_key: Option<String>,
    pub(super) attempts_made: i32,
    pub(super) max_attempts: i32,
    pub(super) deliveries: i32,
    pub(super) crashes: i32,
    pub(super) begun: bool,
    pub(super) unfit: Option<String>,
    pub(super) due_secs: f64,
}

/// The message of a row.
pub(super) fn message(row: Row, lane: i32, group: &Arc<str>, topic: &Arc<str>) -> Found {
    let headers = row.headers.as_deref().map_or(Ok(Vec::new()), headers_from_json);
    let nonsense = row.unfit.or_else(|| headers.as_ref().err().cloned());
    let message = Message {
        seq: row.seq,
        lane,
        okey: row.okey,
        id: row.id,
        message_id: row.message_id,
        consumer_group: Arc::clone(group),
        topic: Arc::clone(topic),
        partition: row.partition,
        offset: row.offset,
        source: row.source,
        event_type: row.event_type,
        schema_version: row.schema_version,
        key: row.key,
        payload: row.payload,
        content_type: row.content_type,
        headers: headers.unwrap_or_default(),
        produced_at_ms: row.produced_at_ms,
        trace_id: row.trace_id,
        traceparent: row.traceparent,
        correlation_id: row.correlation_id,
        causation_id: row.causation_id,
        idempotency_key: row.idempotency_key,
        attempts_made: count(row.attempts_made),
        attempts_max: count(row.max_attempts),
        deliveries: count(row.deliveries),
        crashes: count(row.crashes),
        begun: row.begun,
    };
    Found {
        message: Arc::new(message),
        due_in: Duration::try_from_secs_f64(row.due_secs).unwrap_or_default(),
        nonsense,
    }
}

/// The checks of the table keep these from being negative.
fn count(column: i32) -> u32 {
    u32::try_from(column).unwrap_or(0)
}
