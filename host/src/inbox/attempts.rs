//! Calls of a message that failed, for people.

use serde_json::Value;

use crate::db::{Db, DbError};

/// Number of attempts that are shown.
const SHOWN_MAX: i64 = 20;

/// Every column of the newest, the newest first, of the message whose row or dead letter has these fields.
pub(crate) async fn failed_attempts(db: &Db, fields: &Value) -> Result<Vec<Value>, DbError> {
    let field = |name| fields.get(name).and_then(Value::as_i64);
    let (Some(lane), Some(seq)) = (field("lane"), field("seq")) else { return Ok(Vec::new()) };
    sqlx::query_scalar!(
        r#"select to_jsonb(a) - array['lane', 'seq'] as "fields!" from mailroom.attempt a
            where a.lane = $1 and a.seq = $2 order by a.delivery desc limit $3"#,
        i32::try_from(lane).unwrap_or_default(),
        seq,
        SHOWN_MAX,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("reading a message's failed attempts"))
}

/// The same of a dead letter. Messages of the outbox have no calls.
pub(crate) async fn failed_attempts_of_letter(db: &Db, letter: &Value) -> Result<Vec<Value>, DbError> {
    let is_of_inbox = letter.get("origin").and_then(Value::as_str) == Some("inbox");
    if is_of_inbox { failed_attempts(db, letter).await } else { Ok(Vec::new()) }
}
