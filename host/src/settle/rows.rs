//! The inbox rows of a settlement, in one update.

use std::collections::HashSet;

use sqlx::{Postgres, Transaction};

use super::Settlement;
use crate::db::DbError;
use crate::message::{LAST_ERROR_BYTES_MAX, bounded};
use crate::pipeline::decide::Verdict;

/// A row's new values.
struct Row {
    status: &'static str,
    outcome: Option<&'static str>,
    outcome_reason: Option<String>,
    failed_reason: Option<&'static str>,
    counted: i32,
    error: Option<String>,
    delay: Option<f64>,
}

impl Row {
    fn of(verdict: &Verdict) -> Self {
        let row = Self {
            status: "completed",
            outcome: None,
            outcome_reason: None,
            failed_reason: None,
            counted: 0,
            error: None,
            delay: None,
        };
        match verdict {
            Verdict::Completed => Self { outcome: Some("completed"), ..row },
            Verdict::Skipped { reason } => Self {
                outcome: Some("skipped"),
                outcome_reason: Some(bounded(reason, LAST_ERROR_BYTES_MAX)),
                ..row
            },
            Verdict::Retry { delay, counted, error } => Self {
                status: "pending",
                counted: i32::from(*counted),
                error: Some(bounded(error, LAST_ERROR_BYTES_MAX)),
                delay: Some(delay.as_secs_f64()),
                ..row
            },
            Verdict::Dead { reason, counted, cause } => Self {
                status: "failed",
                failed_reason: Some(reason.as_str()),
                counted: i32::from(*counted),
                error: Some(bounded(&cause.error, LAST_ERROR_BYTES_MAX)),
                ..row
            },
            // Never offered to settle; pending without a change would be true of it.
            Verdict::Again { error, .. } => {
                Self { status: "pending", error: Some(bounded(error, LAST_ERROR_BYTES_MAX)), ..row }
            }
        }
    }
}

/// Ends the deliveries; gives (lane, seq) of the rows that were as we left them.
pub(super) async fn update(
    tx: &mut Transaction<'_, Postgres>,
    items: &[Settlement],
) -> Result<HashSet<(i32, i64)>, DbError> {
    let rows: Vec<Row> = items.iter().map(|item| Row::of(&item.verdict)).collect();
    let hit = sqlx::query_file!(
        "src/settle/rows.sql",
        &items.iter().map(|item| item.message.lane).collect::<Vec<_>>(),
        &items.iter().map(|item| item.message.seq).collect::<Vec<_>>(),
        &items
            .iter()
            .map(|item| i32::try_from(item.message.deliveries).unwrap_or(i32::MAX))
            .collect::<Vec<_>>(),
        &rows.iter().map(|row| row.status).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.outcome).collect::<Vec<_>>() as &[Option<&str>],
        &rows.iter().map(|row| row.outcome_reason.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &rows.iter().map(|row| row.failed_reason).collect::<Vec<_>>() as &[Option<&str>],
        &rows.iter().map(|row| row.counted).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.error.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &items.iter().map(|item| item.digest.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &rows.iter().map(|row| row.delay).collect::<Vec<_>>() as &[Option<f64>],
    );
    let hit = hit.fetch_all(&mut **tx).await.map_err(DbError::new("settling messages"))?;
    Ok(hit.into_iter().map(|row| (row.lane, row.seq)).collect())
}

/// Those of the missed rows that are as our retry left them: it was committed, and its reply was lost.
pub(super) async fn retried(
    tx: &mut Transaction<'_, Postgres>,
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
