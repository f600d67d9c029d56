//! Rows behind a waiting key that memory has no room for: marked as held, outside the index of what can
//! be read, and let go again in bounded batches. Only the lane's owner does either, one at a time.

use std::sync::Arc;

use super::read::{Found, message};
use crate::db::{Db, DbError, lanes};
use crate::lane::Lease;

/// Marks rows as held; those that are no longer pending stay as they are. `false`: the lane is lost.
pub(crate) async fn hold(db: &Db, lease: &Lease, seqs: &[i64]) -> Result<bool, DbError> {
    let failed = || DbError::new("holding messages");
    let mut tx = db.begin_about("holding messages", std::iter::once(lease.lane)).await?;
    if lanes::fence(&mut tx, std::iter::once(lease)).await?.is_empty() {
        return Ok(false);
    }
    sqlx::query!(
        "update mailroom.inbox i set held = true, updated_at = clock_timestamp()
           from (select r.place from unnest($2::bigint[]) w(seq)
                  cross join lateral (
                        select p.ctid as place from mailroom.inbox p
                         where p.lane = $1 and p.seq = w.seq and p.status = 'pending' and not p.held
                         limit 1 for update) r) s
          where i.ctid = s.place",
        lease.lane,
        seqs,
    )
    .execute(&mut *tx)
    .await
    .map_err(failed())?;
    tx.commit().await?;
    Ok(true)
}

/// Lets go of the first held rows of a key up to `seq_max`, at most `limit`, in order.
pub(crate) async fn let_go(
    db: &Db,
    lease: &Lease,
    of: (&Arc<str>, &Arc<str>),
    okey: i64,
    seq_max: i64,
    limit: usize,
) -> Result<Vec<Found>, DbError> {
    let rows = sqlx::query_file_as!(
        super::read::Row,
        "src/inbox/let_go.sql",
        lease.lane,
        lease.token,
        okey,
        seq_max,
        i64::try_from(limit).unwrap_or(i64::MAX),
    );
    let rows = rows.fetch_all(db.pool()).await.map_err(DbError::new("letting go of held messages"))?;
    Ok(rows.into_iter().map(|row| message(row, lease.lane, of.0, of.1)).collect())
}

/// What a new owner has to know of its lane before it starts anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Order keys with held rows.
    pub(crate) held: Vec<i64>,
    /// Order keys behind a dead letter, and whether their messages are parked.
    pub(crate) blocked: Vec<(i64, bool)>,
}

/// Reads it. Held keys are found by leaps over the index, not by walking all of their rows.
pub(crate) async fn standing(db: &Db, lane: i32) -> Result<Standing, DbError> {
    let held = sqlx::query_scalar!(
        r#"with recursive keys as (
               (select okey from mailroom.inbox where lane = $1 and held order by okey limit 1)
               union all
               select (select i.okey from mailroom.inbox i
                        where i.lane = $1 and i.held and i.okey > keys.okey order by i.okey limit 1)
                 from keys where keys.okey is not null)
           select okey as "okey!" from keys where okey is not null"#,
        lane,
    );
    let held = held.fetch_all(db.pool()).await.map_err(DbError::new("looking for held keys"))?;
    let blocked = sqlx::query!("select okey, policy from mailroom.blocked_key where lane = $1", lane);
    let blocked = blocked.fetch_all(db.pool()).await.map_err(DbError::new("looking for blocked keys"))?;
    let blocked = blocked.into_iter().map(|row| (row.okey, row.policy == "park")).collect();
    Ok(Standing { held, blocked })
}
