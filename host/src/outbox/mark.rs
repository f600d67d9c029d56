//! Marking rows as published, or as dead, under the tokens of their lanes.

use std::collections::BTreeMap;

use super::Pending;
use crate::db::{Db, DbError, lanes};
use crate::lane::Lease;
use crate::message::{LAST_ERROR_BYTES_MAX, bounded};
use crate::pipeline::decide::{Cause, DeadReason};
use crate::pipeline::outcome::Usage;
use crate::settle::{DeadLetter, write_dead_letters};

/// A row that the broker acknowledged, and where it put it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    pub(crate) lane: i32,
    pub(crate) seq: i64,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// What came of a mark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// Committed.
    Done,
    /// These lanes are another's; nothing was written.
    LanesLost(Vec<i32>),
}

/// Marks rows as published.
pub(crate) async fn mark(
    db: &Db,
    leases: &BTreeMap<i32, Lease>,
    published: &[Published],
) -> Result<Marked, DbError> {
    let failed = || DbError::new("marking published messages");
    let mut tx = db.begin_about("marking published messages", leases.keys().copied()).await?;
    let ours = lanes::fence(&mut tx, leases.values()).await?;
    if ours.len() < leases.len() {
        return Ok(Marked::LanesLost(
            leases.keys().copied().filter(|lane| !ours.contains_key(lane)).collect(),
        ));
    }
    // Found one by one through the index and updated by their place, as settle does it.
    sqlx::query!(
        "update mailroom.outbox o
            set status = 'completed', completed_at = clock_timestamp(), updated_at = clock_timestamp(),
                deliveries = o.deliveries + 1, published_partition = s.partition, published_offset = s.at
           from (select w.*, r.place
                   from unnest($1::integer[], $2::bigint[], $3::integer[], $4::bigint[]) w(lane, seq, partition, at)
                  cross join lateral (
                        select p.ctid as place from mailroom.outbox p
                         where p.lane = w.lane and p.seq = w.seq and p.status = 'pending' and not p.held
                         limit 1 for update) r) s
          where o.ctid = s.place",
        &published.iter().map(|row| row.lane).collect::<Vec<_>>(),
        &published.iter().map(|row| row.seq).collect::<Vec<_>>(),
        &published.iter().map(|row| row.partition).collect::<Vec<_>>(),
        &published.iter().map(|row| row.offset).collect::<Vec<_>>(),
    )
    .execute(&mut *tx)
    .await
    .map_err(failed())?;
    tx.commit().await?;
    Ok(Marked::Done)
}

/// Sets a row aside that the broker refuses for ever, with its dead letter.
pub(crate) async fn fail(db: &Db, lease: &Lease, row: &Pending, error: &str) -> Result<Marked, DbError> {
    let failed = || DbError::new("failing a message");
    let mut tx = db.begin_about("failing a message", std::iter::once(lease.lane)).await?;
    if lanes::fence(&mut tx, std::iter::once(lease)).await?.is_empty() {
        return Ok(Marked::LanesLost(vec![lease.lane]));
    }
    let error = bounded(error, LAST_ERROR_BYTES_MAX);
    let hit = sqlx::query!(
        "update mailroom.outbox
            set status = 'failed', failed_reason = 'rejected', last_error = $3, deliveries = deliveries + 1,
                updated_at = clock_timestamp()
          where lane = $1 and seq = $2 and status = 'pending' and not held
         returning deliveries",
        row.lane,
        row.seq,
        error,
    );
    if let Some(hit) = hit.fetch_optional(&mut *tx).await.map_err(failed())? {
        let letter = DeadLetter {
            origin: "outbox",
            lane: row.lane,
            seq: row.seq,
            message: row.id,
            message_id: row.id.to_string(),
            group: None,
            handler: None,
            topic: row.topic.clone(),
            partition: None,
            offset: None,
            key: row.key.clone(),
            event_type: row.event_type.clone(),
            reason: DeadReason::Rejected,
            cause: Cause { error, ..Cause::default() },
            last_output: None,
            digest: None,
            attempts: 0,
            deliveries: u32::try_from(hit.deliveries).unwrap_or(0),
            host: None,
            usage: Usage::default(),
        };
        write_dead_letters(&mut tx, &[letter], None).await?;
    }
    tx.commit().await?;
    Ok(Marked::Done)
}
