//! The outbox table: reading what is to be published, marking what was.

pub(crate) mod browse;
mod mark;
mod read;

pub(crate) use mark::{fail, mark};
pub(crate) use read::{Pending, read, read_aside, read_due};
use uuid::Uuid;

use crate::db::{Db, DbError};

/// The id of the message that a handler of the group published with this idempotency key. A group has keys of its
/// own, as settling writes them: nobody can use up another's, or learn an id by it.
pub(crate) async fn first_with_key(
    db: &Db,
    group: &str,
    idempotency_key: &str,
) -> Result<Option<Uuid>, DbError> {
    sqlx::query_scalar!(
        "select id from mailroom.outbox where idempotency_key = $1 || chr(31) || $2",
        group,
        idempotency_key
    )
    .fetch_optional(db.pool())
    .await
    .map_err(DbError::new("looking for an idempotency key"))
}
