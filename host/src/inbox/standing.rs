//! Reading keys of a lane without their messages: those that wait or are blocked, which a new owner has to know before
//! it starts anything, and those that wait no longer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use mailroom_core::handler_machine::event::{DueCursor, DueKeys, StandingPage};
use mailroom_core::ids::{Lease, OrderBy, OrderKey, RereadCount, Seq};
use mailroom_core::verdict::Blocking;

use super::read::bound;
use crate::db::{Conn, Db, DbError};

/// Held keys of a page. Tests have several pages of a few keys, as the simulator's model does.
const STANDING_PAGE: usize = if cfg!(test) { 2 } else { 1_000 };
/// Due rows of a page.
const DUE_PAGE: usize = if cfg!(test) { 2 } else { 10_000 };
const LOOKING_FOR_HELD: &str = "looking for held keys";
const LOOKING_FOR_DUE: &str = "looking for messages that are due";

/// Reads the next held keys behind `after`, and from the start all that are blocked. Nothing comes of a lane that is
/// no longer ours.
pub(crate) async fn read_standing(
    db: &Db,
    lease: Lease,
    after: Option<OrderKey>,
) -> Result<StandingPage, DbError> {
    let mut conn = db.conn(LOOKING_FOR_HELD).await?;
    let blocked = if after.is_none() { read_blocked(&mut conn, lease).await? } else { Vec::new() };
    // Behind the last key that there can be is none.
    let Some(from) = after.map_or(Some(i64::MIN), |after| after.0.checked_add(1)) else {
        return Ok(StandingPage { blocked, held: Vec::new(), more: false });
    };
    let rows = sqlx::query_file!(
        "src/inbox/read_standing.sql",
        lease.lane.0,
        lease.token.0,
        from,
        bound(STANDING_PAGE),
    );
    let rows = rows.fetch_all(&mut conn).await.map_err(DbError::new(LOOKING_FOR_HELD))?;
    let mut held: Vec<(OrderKey, bool)> =
        rows.into_iter().map(|row| (OrderKey(row.okey), row.wakes)).collect();
    // A union promises no order, whatever it does; the next page begins behind the last.
    held.sort_unstable();
    let more = held.len() >= STANDING_PAGE;
    Ok(StandingPage { blocked, held, more })
}

/// A row that waits no longer.
#[derive(Debug)]
struct DueRow {
    okey: Option<i64>,
    seq: i64,
    scheduled_at: DateTime<Utc>,
}

/// Reads which waiting rows are due, by their times behind `after`, and all keys that are blocked where those are asked
/// for. Nothing comes of a lane that is no longer ours.
pub(crate) async fn read_due(
    db: &Db,
    lease: Lease,
    after: Option<(DueCursor, Seq)>,
    with_blocked: bool,
) -> Result<DueKeys, DbError> {
    let mut conn = db.conn(LOOKING_FOR_DUE).await?;
    // Before everything else: what an operator does from here on, which may be seen or not, raises it once more.
    let seen = sqlx::query!(
        r#"select reread, clock_timestamp() as "now!" from mailroom.lane where id = $1 and token = $2"#,
        lease.lane.0,
        lease.token.0,
    );
    let seen = seen.fetch_optional(&mut conn).await.map_err(DbError::new(LOOKING_FOR_DUE))?;
    let Some(seen) = seen else { return Ok(DueKeys::default()) };
    let rows = read_due_rows(&mut conn, lease, after, seen.now).await?;
    let last = rows.last().filter(|_| rows.len() >= DUE_PAGE);
    let more_after = last.map(|row| (DueCursor(row.scheduled_at.timestamp_micros()), Seq(row.seq)));
    let next_in = if more_after.is_none() { next_in(&mut conn, lease, seen.now).await? } else { None };
    let blocked = if with_blocked { Some(read_blocked(&mut conn, lease).await?) } else { None };
    let due = rows.into_iter().map(|row| {
        let seq = Seq(row.seq);
        (row.okey.map_or(OrderBy::Nothing(seq), |okey| OrderBy::Key(OrderKey(okey))), seq)
    });
    Ok(DueKeys { due: due.collect(), more_after, next_in, blocked, rereads: RereadCount(seen.reread) })
}

async fn read_due_rows(
    conn: &mut Conn,
    lease: Lease,
    after: Option<(DueCursor, Seq)>,
    now: DateTime<Utc>,
) -> Result<Vec<DueRow>, DbError> {
    let rows = sqlx::query_file_as!(
        DueRow,
        "src/inbox/read_due.sql",
        lease.lane.0,
        lease.token.0,
        after.and_then(|(at, _)| DateTime::from_timestamp_micros(at.0)),
        after.map_or(i64::MIN, |(_, seq)| seq.0),
        now,
        bound(DUE_PAGE),
    );
    rows.fetch_all(conn).await.map_err(DbError::new(LOOKING_FOR_DUE))
}

/// Gives the time until the first row wakes that did not at `now`, and none where no row waits.
async fn next_in(conn: &mut Conn, lease: Lease, now: DateTime<Utc>) -> Result<Option<Duration>, DbError> {
    let secs = sqlx::query_scalar!(
        r#"select greatest(0, extract(epoch from i.scheduled_at - clock_timestamp()))::double precision as "secs!"
             from mailroom.inbox i
            where i.lane = $1 and i.held and i.wakes and i.scheduled_at > $2 order by i.scheduled_at limit 1"#,
        lease.lane.0,
        now,
    );
    let secs = secs.fetch_optional(conn).await.map_err(DbError::new(LOOKING_FOR_DUE))?;
    Ok(secs.map(|secs| Duration::try_from_secs_f64(secs).unwrap_or_default()))
}

async fn read_blocked(conn: &mut Conn, lease: Lease) -> Result<Vec<(OrderKey, Blocking)>, DbError> {
    let rows = sqlx::query!(
        "select okey, policy from mailroom.blocked_key
          where lane = $1 and exists (select 1 from mailroom.lane where id = $1 and token = $2)",
        lease.lane.0,
        lease.token.0,
    );
    let rows = rows.fetch_all(conn).await.map_err(DbError::new("looking for blocked keys"))?;
    let blocking = |policy: &str| if policy == "park" { Blocking::Park } else { Blocking::Wait };
    Ok(rows.into_iter().map(|row| (OrderKey(row.okey), blocking(&row.policy))).collect())
}
