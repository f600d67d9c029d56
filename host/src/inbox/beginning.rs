//! Notes that are made before a delivery begins: of messages that run alone, since they lost deliveries with their
//! hosts and nobody else is to be blamed, and of those that are handed over at most once.

use mailroom_core::ids::Lease;

use crate::db::{Db, DbError};
use crate::message::Message;

/// Notes that the delivery which begins now runs alone in its process; `false` where the row is no longer
/// as it was delivered, or the lane no longer ours.
pub(crate) async fn mark_lone(db: &Db, lease: Lease, message: &Message) -> Result<bool, DbError> {
    let marked = mark(db, lease, message, (Some(true), false)).await;
    marked.map_err(DbError::new("noting that a message runs alone"))
}

/// Notes that a delivery which ran alone came back, before anything else runs in its process: it is not to blame for
/// whatever happens next, however it ends.
pub(crate) async fn mark_came_back(db: &Db, lease: Lease, message: &Message) -> Result<(), DbError> {
    let marked = mark(db, lease, message, (Some(false), false)).await;
    marked.map(drop).map_err(DbError::new("noting that a message came back"))
}

/// Notes that the only delivery of a message begins now, or that it was noted before and nobody was called; `false`
/// where the row is no longer as it was read, or the lane no longer ours.
pub(crate) async fn mark_begun(db: &Db, lease: Lease, message: &Message) -> Result<bool, DbError> {
    let marked = mark(db, lease, message, (None, true)).await;
    marked.map_err(DbError::new("noting that a message is begun"))
}

async fn mark(
    db: &Db,
    lease: Lease,
    message: &Message,
    (lone, begun): (Option<bool>, bool),
) -> Result<bool, sqlx::Error> {
    let marked = sqlx::query_file!(
        "src/inbox/begin.sql",
        lease.lane.0,
        lease.token.0,
        message.seq,
        i32::try_from(message.deliveries).unwrap_or(i32::MAX),
        lone,
        begun,
    );
    Ok(marked.execute(db.pool()).await?.rows_affected() == 1)
}
