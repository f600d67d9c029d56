//! Dead letters: found, edited, replayed, discarded. A replay is the only way out of `failed`.
//!
//! Lanes are locked before rows, as settling does, so that an owner sees the row and the raised `reread`
//! together. The dead row is found by its unique key: no index holds failed rows by lane and seq.

mod edit;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub(crate) use edit::{Edit, Edited, digest, edit};

use super::audit::{self, Operator};
use super::{Db, DbError, Tx, wake};

/// Filter for dead letters; what is `None` or empty does not narrow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Which {
    /// Letters, or the messages that died.
    pub(crate) ids: Vec<Uuid>,
    pub(crate) handler: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) reason: Option<String>,
    /// Empty for those without one.
    pub(crate) code: Option<String>,
    /// Empty for those without one.
    pub(crate) fault: Option<String>,
    /// `open`, `replayed` or `discarded`.
    pub(crate) status: Option<&'static str>,
    pub(crate) since_secs: Option<f64>,
}

/// A letter in a list.
#[derive(Debug, Serialize)]
pub(crate) struct Letter {
    pub(crate) id: Uuid,
    pub(crate) origin: String,
    pub(crate) message: Uuid,
    pub(crate) message_id: String,
    pub(crate) handler: Option<String>,
    pub(crate) topic: String,
    pub(crate) event_type: String,
    pub(crate) reason: String,
    pub(crate) fault: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) error: String,
    pub(crate) attempts: i32,
    pub(crate) deliveries: i32,
    pub(crate) died_at: DateTime<Utc>,
    pub(crate) replayed_at: Option<DateTime<Utc>>,
    pub(crate) discarded_at: Option<DateTime<Utc>>,
}

/// Open letters that died of the same.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) origin: String,
    pub(crate) handler: Option<String>,
    pub(crate) topic: String,
    pub(crate) reason: String,
    pub(crate) fault: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) letters: i64,
    pub(crate) first_died_at: DateTime<Utc>,
    pub(crate) last_died_at: DateTime<Utc>,
}

/// An open letter that is to be settled, with what finds its row.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) id: Uuid,
    pub(crate) origin: String,
    pub(crate) seq: i64,
    pub(crate) lane: i32,
}

/// The newest letters first.
pub(crate) async fn list(db: &Db, which: &Which, limit: i64) -> Result<Vec<Letter>, DbError> {
    sqlx::query_file_as!(
        Letter,
        "src/db/dead_letters_list.sql",
        &which.ids,
        which.handler.as_deref(),
        which.topic.as_deref(),
        which.reason.as_deref(),
        which.code.as_deref(),
        which.status,
        which.since_secs,
        limit,
        which.fault.as_deref(),
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("listing dead letters"))
}

/// Every field of a letter, by its id or by its message's; the newest where a message died repeatedly.
pub(crate) async fn show(db: &Db, id: Uuid) -> Result<Option<Value>, DbError> {
    sqlx::query_scalar!(
        r#"select to_jsonb(d) as "fields!" from mailroom.dead_letter d
            where d.id = $1 or d.message = $1 order by d.id desc limit 1"#,
        id,
    )
    .fetch_optional(db.pool())
    .await
    .map_err(DbError::new("reading a dead letter"))
}

/// Counts the open letters by what they died of.
pub(crate) async fn groups(db: &Db, which: &Which) -> Result<Vec<Group>, DbError> {
    sqlx::query_as!(
        Group,
        r#"select d.origin, d.handler, d.topic, d.reason, d.fault, d.code, count(*) as "letters!",
                  min(d.died_at) as "first_died_at!", max(d.died_at) as "last_died_at!"
             from mailroom.dead_letter d
            where d.replayed_at is null and d.discarded_at is null
              and (cardinality($1::uuid[]) = 0 or d.id = any ($1) or d.message = any ($1))
              and ($2::text is null or d.handler = $2) and ($3::text is null or d.topic = $3)
              and ($4::text is null or d.reason = $4) and ($5::text is null or coalesce(d.code, '') = $5)
              and ($6::text is null or coalesce(d.fault, '') = $6)
            group by d.origin, d.handler, d.topic, d.reason, d.fault, d.code
            order by d.origin, d.handler, d.topic, d.reason, d.fault, d.code"#,
        &which.ids,
        which.handler.as_deref(),
        which.topic.as_deref(),
        which.reason.as_deref(),
        which.code.as_deref(),
        which.fault.as_deref(),
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("counting dead letters"))
}

/// The next open letters behind `after`, in the order of their messages; the inbox comes first.
pub(crate) async fn open(
    db: &Db,
    which: &Which,
    after: Option<&Open>,
    limit: i64,
) -> Result<Vec<Open>, DbError> {
    let (origin, seq) = after.map_or(("", i64::MIN), |open| (open.origin.as_str(), open.seq));
    sqlx::query_as!(
        Open,
        r#"select d.id, d.origin, d.seq, d.lane from mailroom.dead_letter d
            where d.replayed_at is null and d.discarded_at is null
              and (d.origin, d.seq) > ($6::text, $7::bigint)
              and (cardinality($1::uuid[]) = 0 or d.id = any ($1) or d.message = any ($1))
              and ($2::text is null or d.handler = $2) and ($3::text is null or d.topic = $3)
              and ($4::text is null or d.reason = $4) and ($5::text is null or coalesce(d.code, '') = $5)
              and ($9::text is null or coalesce(d.fault, '') = $9)
            order by d.origin, d.seq limit $8"#,
        &which.ids,
        which.handler.as_deref(),
        which.topic.as_deref(),
        which.reason.as_deref(),
        which.code.as_deref(),
        origin,
        seq,
        limit,
        which.fault.as_deref(),
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("reading dead letters"))
}

/// A way to close letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Messages are pending again.
    Replay,
    /// Messages stay failed.
    Discard,
}

impl Closing {
    /// The word for letters that were closed so.
    pub(crate) fn done(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Discard => "discarded",
        }
    }
}

/// Letters that one transaction closed, or left as they are.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) taken: usize,
    pub(crate) closed: usize,
    /// The one behind which the next begin.
    pub(crate) last: Open,
}

/// Closes the next open letters behind `after` in one transaction; gives nothing where there are none.
pub(crate) async fn close_next(
    db: &Db,
    which: &Which,
    after: Option<&Open>,
    rows: i64,
    (closing, by): (Closing, &Operator),
) -> Result<Option<Batch>, DbError> {
    let letters = open(db, which, after, rows).await?;
    let Some(last) = letters.last().cloned() else { return Ok(None) };
    let closed = match closing {
        Closing::Replay => replay(db, &letters, Some(by)).await,
        Closing::Discard => discard(db, &letters, by).await,
    }?;
    Ok(Some(Batch { taken: letters.len(), closed, last }))
}

/// Makes the letters' messages pending again, in one transaction; gives how many rows it found. A letter
/// whose row retention has deleted, or that another replay took first, stays as it is. `None` is the host itself.
pub(crate) async fn replay(db: &Db, letters: &[Open], by: Option<&Operator>) -> Result<usize, DbError> {
    let doing = || DbError::new("replaying dead letters");
    let ids: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
    let mut tx = db.begin("replaying dead letters").await?;
    lock_lanes(&mut tx, letters).await?;
    let inbox = sqlx::query_file_scalar!("src/db/dead_letters_replay_inbox.sql", &ids)
        .fetch_all(&mut *tx)
        .await
        .map_err(doing())?;
    let outbox = sqlx::query_file_scalar!("src/db/dead_letters_replay_outbox.sql", &ids)
        .fetch_all(&mut *tx)
        .await
        .map_err(doing())?;
    let replayed: Vec<Uuid> = inbox.into_iter().chain(outbox).collect();
    unblock(&mut tx, &replayed).await?;
    sqlx::query!(
        "update mailroom.dead_letter d set replayed_at = clock_timestamp() where d.id = any($1)",
        &replayed,
    )
    .execute(&mut *tx)
    .await
    .map_err(doing())?;
    if let Some(by) = by {
        audit::note_letters(&mut tx, by, "dead.replay", &replayed, "replayed").await?;
    }
    wake::notify(&mut tx, wake::INBOX).await?;
    wake::notify(&mut tx, wake::OUTBOX).await?;
    tx.commit().await?;
    Ok(replayed.len())
}

/// Closes the letters; their messages stay failed. Gives how many were still open.
pub(crate) async fn discard(db: &Db, letters: &[Open], by: &Operator) -> Result<usize, DbError> {
    let doing = || DbError::new("discarding dead letters");
    let ids: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
    let mut tx = db.begin("discarding dead letters").await?;
    lock_lanes(&mut tx, letters).await?;
    let discarded = sqlx::query_scalar!(
        "update mailroom.dead_letter d set discarded_at = clock_timestamp()
          where d.id = any($1) and d.replayed_at is null and d.discarded_at is null returning d.id",
        &ids,
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(doing())?;
    unblock(&mut tx, &discarded).await?;
    audit::note_letters(&mut tx, by, "dead.discard", &discarded, "discarded").await?;
    wake::notify(&mut tx, wake::INBOX).await?;
    tx.commit().await?;
    Ok(discarded.len())
}

/// Keys that were blocked behind these letters go on, once their lanes were read again.
async fn unblock(tx: &mut Tx, letters: &[Uuid]) -> Result<(), DbError> {
    sqlx::query!(
        "delete from mailroom.blocked_key b using mailroom.dead_letter d
          where d.id = any($1) and d.origin = 'inbox' and b.lane = d.lane and b.seq = d.seq",
        letters,
    )
    .execute(&mut **tx)
    .await
    .map_err(DbError::new("unblocking keys"))?;
    Ok(())
}

/// Takes the lanes' rows, in one order against deadlocks, and tells their owners to read again.
async fn lock_lanes(tx: &mut Tx, letters: &[Open]) -> Result<(), DbError> {
    let lanes: Vec<i32> = letters.iter().map(|letter| letter.lane).collect();
    sqlx::query!(
        "with locked as materialized (
             select l.id from mailroom.lane l where l.id in (select unnest($1::integer[])) order by l.id for update)
         update mailroom.lane l set reread = l.reread + 1 from locked where l.id = locked.id",
        &lanes,
    )
    .execute(&mut **tx)
    .await
    .map_err(DbError::new("locking lanes"))?;
    Ok(())
}

/// A key that is blocked behind a dead letter.
#[derive(Debug, Serialize)]
pub(crate) struct BlockedKey {
    pub(crate) consumer_group: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Text of the key, where it is text; `None` for who may not see it.
    pub(crate) key: Option<String>,
    /// `block` or `park`.
    pub(crate) policy: String,
    pub(crate) blocked_at: DateTime<Utc>,
    /// The open letter of the dead message.
    pub(crate) letter: Option<Uuid>,
}

/// The blocked keys, the oldest first.
pub(crate) async fn blocked_keys(db: &Db, limit: i64) -> Result<Vec<BlockedKey>, DbError> {
    let rows = sqlx::query!(
        r#"select b.consumer_group, b.topic, b.partition, b.key, b.policy, b.blocked_at, d.id as "letter?"
             from mailroom.blocked_key b
             left join mailroom.dead_letter d on d.origin = 'inbox' and d.seq = b.seq and d.lane = b.lane
                  and d.replayed_at is null and d.discarded_at is null
            order by b.blocked_at limit $1"#,
        limit,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("listing blocked keys"))?;
    let shown = rows.into_iter().map(|row| BlockedKey {
        consumer_group: row.consumer_group,
        topic: row.topic,
        partition: row.partition,
        key: Some(String::from_utf8_lossy(&row.key).into_owned()),
        policy: row.policy,
        blocked_at: row.blocked_at,
        letter: row.letter,
    });
    Ok(shown.collect())
}
