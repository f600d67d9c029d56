//! The outbox table: reading what is to be published, marking what was.

pub(crate) mod browse;
mod mark;
mod read;

pub(crate) use mark::{Marked, Published, fail, mark};
pub(crate) use read::{Look, Page, Pending, Snapshot, read};
use uuid::Uuid;

use crate::db::{Db, DbError};

/// The id of the message that was published with this idempotency key.
pub(crate) async fn first_with_key(db: &Db, idempotency_key: &str) -> Result<Option<Uuid>, DbError> {
    sqlx::query_scalar!("select id from mailroom.outbox where idempotency_key = $1", idempotency_key)
        .fetch_optional(db.pool())
        .await
        .map_err(DbError::new("looking for an idempotency key"))
}
