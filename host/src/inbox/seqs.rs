//! Places in the order of the inbox, drawn before there are rows for them.

use mailroom_core::ids::Seq;

use crate::db::{Db, DbError};

/// Draws so many, in rising order. A host that takes a lane draws anew for it: what it drew before lies below
/// what the lane's last owner has written.
pub(crate) async fn draw(db: &Db, count: usize) -> Result<Vec<Seq>, DbError> {
    let drawn = sqlx::query_scalar!(
        r#"select nextval('mailroom.inbox_seq_seq') as "seq!" from generate_series(1, $1::integer)"#,
        i32::try_from(count).unwrap_or(i32::MAX),
    );
    let drawn = drawn.fetch_all(db.pool()).await.map_err(DbError::new("drawing places in the inbox"))?;
    Ok(drawn.into_iter().map(Seq).collect())
}
