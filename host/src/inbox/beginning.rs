//! What is noted before a delivery begins: of messages that run alone, since they lost deliveries with their
//! hosts and nobody else is to be blamed, and of those that are handed over at most once.

use crate::db::{Db, DbError};
use crate::message::Message;

/// Notes that the delivery which begins now runs alone in its process; `false` where the row is no longer
/// as it was delivered, or the lane no longer ours.
pub(crate) async fn mark_lone(db: &Db, token: i64, message: &Message) -> Result<bool, DbError> {
    let marked = sqlx::query!(
        "update mailroom.inbox set lone = true, updated_at = clock_timestamp()
          where lane = $1 and seq = $2 and status = 'pending' and not held and deliveries = $3
            and exists (select from mailroom.lane l where l.id = $1 and l.token = $4 for key share)",
        message.lane,
        message.seq,
        i32::try_from(message.deliveries).unwrap_or(i32::MAX),
        token,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("noting that a message runs alone"))?;
    Ok(marked.rows_affected() == 1)
}

/// Notes that the only delivery of a message begins now; `false` where the row is no longer as it was read, or the
/// lane no longer ours.
pub(crate) async fn mark_begun(db: &Db, token: i64, message: &Message) -> Result<bool, DbError> {
    let marked = sqlx::query!(
        "update mailroom.inbox set begun = true, updated_at = clock_timestamp()
          where lane = $1 and seq = $2 and status = 'pending' and not held and deliveries = $3
            and exists (select from mailroom.lane l where l.id = $1 and l.token = $4 for key share)",
        message.lane,
        message.seq,
        i32::try_from(message.deliveries).unwrap_or(i32::MAX),
        token,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("noting that a message is begun"))?;
    Ok(marked.rows_affected() == 1)
}
