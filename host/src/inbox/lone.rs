//! Messages that lost deliveries with their hosts run alone, so that nobody else is blamed.

use crate::db::{Db, DbError};
use crate::message::Message;

/// Notes that the delivery which begins now runs alone in its process; `false` where the row is no longer
/// as it was delivered.
pub(crate) async fn mark_lone(db: &Db, message: &Message) -> Result<bool, DbError> {
    let marked = sqlx::query!(
        "update mailroom.inbox set lone = true, updated_at = clock_timestamp()
          where lane = $1 and seq = $2 and status = 'pending' and not held and deliveries = $3",
        message.lane,
        message.seq,
        i32::try_from(message.deliveries).unwrap_or(i32::MAX),
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("noting that a message runs alone"))?;
    Ok(marked.rows_affected() == 1)
}
