//! Deletes what was settled long ago, a batch in a transaction. A table is walked block by block, and how
//! far is remembered in a row that one host at a time holds: no index is needed, and none is paid for.

use std::time::Duration;

use super::{Db, DbError, Tx};

/// Blocks that one transaction looks at: a mebibyte, some thousand rows.
const BLOCKS_MAX: i64 = 128;
/// A walk through a table begins at most so many times within the time that its rows are kept.
const WALKS: f64 = 100.0;

/// Rows that grow old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Old {
    /// Completed messages of the inbox.
    Inbox,
    /// Published messages of the outbox.
    Outbox,
    /// Closed dead letters, and the messages of discarded ones.
    Dead,
}

impl Old {
    fn as_str(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Outbox => "outbox",
            Self::Dead => "dead",
        }
    }
}

/// Result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// A stretch was looked at; more of the table follows.
    Walking,
    /// The walk is through.
    Ended {
        /// Rows that it deleted, on whatever host.
        deleted: i64,
    },
    /// Nothing can be old enough for so long.
    Rests(Duration),
    /// Another host is at it.
    Elsewhere,
}

/// Position of the walk.
#[derive(Debug)]
struct Walk {
    next_block: i64,
    under_way: bool,
    rests_secs: f64,
    blocks: i64,
}

/// Content of a stretch.
#[derive(Debug, Default)]
struct Stretch {
    due: i64,
    deleted: i64,
    /// The block of the last row that was due.
    last_block: Option<i64>,
    oldest_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// Looks at the next stretch, in one transaction, and deletes at most `rows_max` of what is older than
/// `keep` there.
///
/// # Errors
/// Those of Postgres; nothing was deleted then.
pub(crate) async fn turn(db: &Db, old: Old, keep: Duration, rows_max: i64) -> Result<Turn, DbError> {
    let doing = || DbError::new("deleting old rows");
    let mut tx = db.begin("deleting old rows").await?;
    let Some(walk) = hold(&mut tx, old, keep).await? else {
        tx.roll_back().await;
        return Ok(Turn::Elsewhere);
    };
    if walk.rests_secs > 0.0 {
        tx.roll_back().await;
        return Ok(Turn::Rests(Duration::try_from_secs_f64(walk.rests_secs).unwrap_or(Duration::MAX)));
    }
    // What is settled while the walk goes on, behind it, is younger than its beginning.
    let begins = !walk.under_way;
    let from = if begins { 0 } else { walk.next_block };
    let to = from.saturating_add(BLOCKS_MAX).min(walk.blocks);
    let stretch = delete(&mut tx, old, (from, to), keep, rows_max).await?;
    // Where the bound cut the stretch short, the rest of it comes next.
    let next = if stretch.due >= rows_max { stretch.last_block.unwrap_or(to) } else { to };
    let ends = stretch.due < rows_max && next >= walk.blocks;
    let deleted = sqlx::query_scalar!(
        "update mailroom.retention r
            set next_block = $2, began_at = case when $3 then clock_timestamp() else r.began_at end,
                oldest_at = least($4, case when $3 then clock_timestamp() else r.oldest_at end),
                deleted = case when $3 then 0 else r.deleted end + $5
          where r.of = $1 returning deleted",
        old.as_str(),
        next,
        begins,
        stretch.oldest_at,
        stretch.deleted,
    );
    let deleted = deleted.fetch_one(&mut *tx).await.map_err(doing())?;
    if ends {
        end(&mut tx, old, keep).await?;
    }
    tx.commit().await?;
    Ok(if ends { Turn::Ended { deleted } } else { Turn::Walking })
}

/// Takes the walk's row; `None` where another host has it.
async fn hold(tx: &mut Tx, old: Old, keep: Duration) -> Result<Option<Walk>, DbError> {
    let table = match old {
        Old::Inbox => "mailroom.inbox",
        Old::Outbox => "mailroom.outbox",
        Old::Dead => "mailroom.dead_letter",
    };
    let keep = keep.as_secs_f64();
    let walk = sqlx::query_as!(
        Walk,
        r#"select r.next_block, r.began_at is not null as "under_way!",
                  (case when r.began_at is null and r.ended_at is not null then
                       greatest(0, extract(epoch from greatest(r.ended_at + make_interval(secs => $3::float8 / $4),
                                                               r.oldest_at + make_interval(secs => $3))
                                                      - clock_timestamp()))
                   else 0 end)::float8 as "rests_secs!",
                  pg_relation_size(($2::text)::regclass) / current_setting('block_size')::bigint as "blocks!"
             from mailroom.retention r where r.of = $1 for update skip locked"#,
        old.as_str(),
        table,
        keep,
        WALKS,
    );
    walk.fetch_optional(&mut **tx).await.map_err(DbError::new("looking how far old rows are deleted"))
}

/// Deletes within a stretch of blocks.
async fn delete(
    tx: &mut Tx,
    old: Old,
    (from, to): (i64, i64),
    keep: Duration,
    rows_max: i64,
) -> Result<Stretch, DbError> {
    let keep = keep.as_secs_f64();
    let deleted = match old {
        Old::Inbox => {
            sqlx::query_file_as!(Stretch, "src/db/retention_inbox.sql", from, to, keep, rows_max)
                .fetch_one(&mut **tx)
                .await
        }
        Old::Outbox => {
            sqlx::query_file_as!(Stretch, "src/db/retention_outbox.sql", from, to, keep, rows_max)
                .fetch_one(&mut **tx)
                .await
        }
        Old::Dead => {
            sqlx::query_file_as!(Stretch, "src/db/retention_dead.sql", from, to, keep, rows_max)
                .fetch_one(&mut **tx)
                .await
        }
    };
    deleted.map_err(DbError::new("deleting old rows"))
}

/// Ends a walk; with that through the inbox, what is known of its old duplicates goes.
async fn end(tx: &mut Tx, old: Old, keep: Duration) -> Result<(), DbError> {
    if old == Old::Inbox {
        sqlx::query!(
            "delete from mailroom.duplicate where dropped_at < statement_timestamp() - make_interval(secs => $1)",
            keep.as_secs_f64(),
        )
        .execute(&mut **tx)
        .await
        .map_err(DbError::new("deleting old duplicates"))?;
    }

    sqlx::query!(
        "update mailroom.retention set next_block = 0, began_at = null, ended_at = clock_timestamp() where of = $1",
        old.as_str(),
    )
    .execute(&mut **tx)
    .await
    .map_err(DbError::new("ending a walk through old rows"))?;
    Ok(())
}
