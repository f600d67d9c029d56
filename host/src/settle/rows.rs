//! The inbox rows of a settlement, in one update.

use std::collections::HashSet;

use super::Settlement;
use super::ending::Ending;
use super::fresh::some;
use crate::db::{DbError, Tx};
use crate::pipeline::decide::Verdict;

/// Ends the deliveries; gives (lane, seq) of the rows that were as we left them.
pub(super) async fn update(tx: &mut Tx, items: &[&Settlement]) -> Result<HashSet<(i32, i64)>, DbError> {
    if items.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<Ending> = items.iter().map(|item| Ending::of(&item.verdict)).collect();
    let hit = sqlx::query_file!(
        "src/settle/rows.sql",
        &items.iter().map(|item| item.message.lane).collect::<Vec<_>>(),
        &items.iter().map(|item| item.message.seq).collect::<Vec<_>>(),
        &items
            .iter()
            .map(|item| i32::try_from(item.message.deliveries).unwrap_or(i32::MAX))
            .collect::<Vec<_>>(),
        &rows.iter().map(|row| row.status).collect::<Vec<_>>() as &[&str],
        &some(rows.iter().map(|row| row.outcome).collect()) as &[Option<&str>],
        &some(rows.iter().map(|row| row.outcome_reason.as_deref()).collect()) as &[Option<&str>],
        &some(rows.iter().map(|row| row.failed_reason).collect()) as &[Option<&str>],
        &rows.iter().map(|row| row.counted).collect::<Vec<_>>(),
        &some(rows.iter().map(|row| row.error.as_deref()).collect()) as &[Option<&str>],
        &some(items.iter().map(|item| item.digest.as_deref()).collect()) as &[Option<&str>],
        &some(rows.iter().map(|row| row.delay).collect()) as &[Option<f64>],
    );
    let hit = hit.fetch_all(&mut **tx).await.map_err(DbError::new("settling messages"))?;
    Ok(hit.into_iter().map(|row| (row.lane, row.seq)).collect())
}

/// Rows that were not hit: they were no longer as we left them. One that is as our retry left it counts as
/// hit.
pub(super) async fn missed(
    tx: &mut Tx,
    items: &[Settlement],
    hit: &HashSet<(i32, i64)>,
) -> Result<HashSet<(i32, i64)>, DbError> {
    let mut missed: HashSet<(i32, i64)> =
        items.iter().map(Settlement::place).filter(|row| !hit.contains(row)).collect();
    if !missed.is_empty() {
        let ours = retried(tx, items, &missed).await?;
        missed.retain(|row| !ours.contains(row));
    }
    Ok(missed)
}

/// Those of the missed rows that are as our retry left them: it was committed, and its reply was lost.
async fn retried(
    tx: &mut Tx,
    items: &[Settlement],
    missed: &HashSet<(i32, i64)>,
) -> Result<HashSet<(i32, i64)>, DbError> {
    let retries: Vec<&Settlement> = items
        .iter()
        .filter(|item| matches!(item.verdict, Verdict::Retry { .. }))
        .filter(|item| missed.contains(&(item.message.lane, item.message.seq)))
        .collect();
    if retries.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = sqlx::query!(
        "select w.lane as \"lane!\", w.seq as \"seq!\"
           from unnest($1::integer[], $2::bigint[], $3::integer[]) w(lane, seq, deliveries)
          cross join lateral (
                select 1 from mailroom.inbox p
                 where p.lane = w.lane and p.seq = w.seq and p.status = 'pending' and not p.held
                   and p.deliveries = w.deliveries + 1
                 limit 1) r",
        &retries.iter().map(|item| item.message.lane).collect::<Vec<_>>(),
        &retries.iter().map(|item| item.message.seq).collect::<Vec<_>>(),
        &retries
            .iter()
            .map(|item| i32::try_from(item.message.deliveries).unwrap_or(i32::MAX))
            .collect::<Vec<_>>(),
    );
    let rows = rows.fetch_all(&mut **tx).await.map_err(DbError::new("settling messages"))?;
    Ok(rows.into_iter().map(|row| (row.lane, row.seq)).collect())
}
