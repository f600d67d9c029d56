//! Marking rows as published, or as dead, under the tokens of their lanes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Pending;
use crate::db::{Db, DbError, lanes};
use crate::lane::Lease;
use crate::message::{LAST_ERROR_BYTES_MAX, bounded};
use crate::pipeline::decide::{Cause, DeadReason};
use crate::pipeline::outcome::Usage;
use crate::settle::{DeadLetter, write_dead_letters};
use mailroom_core::ids::LaneId;
use mailroom_core::relay::{Marked, Published};

/// Marks rows as published.
pub(crate) async fn mark(
    db: &Db,
    leases: &BTreeMap<i32, Lease>,
    published: &[Published<Arc<Pending>>],
) -> Result<Marked, DbError> {
    let failed = || DbError::new("marking published messages");
    let mut tx = db.begin_about("marking published messages", leases.keys().copied()).await?;
    let ours = lanes::fence(&mut tx, leases.values().map(Lease::right)).await?;
    if ours.len() < leases.len() {
        let lost = leases.keys().copied().filter(|lane| !ours.contains_key(&LaneId(*lane)));
        return Ok(Marked::LanesLost(lost.collect()));
    }
    // Found one by one through the index and updated by their place, as settle does it. After a failover that lost
    // commits another row may have the number: the id tells them apart, outside so that no other index is used.
    sqlx::query!(
        "update mailroom.outbox o
            set status = 'completed', completed_at = clock_timestamp(), updated_at = clock_timestamp(),
                deliveries = o.deliveries + 1, published_partition = s.partition, published_offset = s.at
           from (select w.*, r.place
                   from unnest($1::integer[], $2::bigint[], $3::integer[], $4::bigint[], $5::uuid[])
                        w(lane, seq, partition, at, id)
                  cross join lateral (
                        select p.ctid as place from mailroom.outbox p
                         where p.lane = w.lane and p.seq = w.seq and p.status = 'pending' and not p.held
                         limit 1 for update) r) s
          where o.ctid = s.place and o.id = s.id",
        &published.iter().map(|published| published.row.lane).collect::<Vec<_>>(),
        &published.iter().map(|published| published.row.seq).collect::<Vec<_>>(),
        &published.iter().map(|published| published.partition).collect::<Vec<_>>(),
        &published.iter().map(|published| published.offset).collect::<Vec<_>>(),
        &published.iter().map(|published| published.row.record.id).collect::<Vec<_>>(),
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
    if lanes::fence(&mut tx, std::iter::once(lease.right())).await?.is_empty() {
        return Ok(Marked::LanesLost(vec![lease.lane]));
    }
    let error = bounded(error, LAST_ERROR_BYTES_MAX);
    // The id as a condition that no index answers: the row is found by its place in the lane.
    let hit = sqlx::query!(
        "update mailroom.outbox
            set status = 'failed', failed_reason = 'rejected', last_error = $3, deliveries = deliveries + 1,
                updated_at = clock_timestamp()
          where lane = $1 and seq = $2 and status = 'pending' and not held and id is not distinct from $4
         returning deliveries",
        row.lane,
        row.seq,
        error,
        row.id,
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
            topic: row.topic.to_string(),
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
