//! The inbox rows of a settlement, in one update.

use std::collections::HashSet;

use sqlx::{Postgres, Transaction};

use super::Settlement;
use crate::db::DbError;
use crate::message::{LAST_ERROR_BYTES_MAX, bounded};
use crate::pipeline::decide::Verdict;

/// A row's new values.
struct Row<'s> {
    status: &'static str,
    outcome: Option<&'static str>,
    outcome_reason: Option<&'s str>,
    failed_reason: Option<&'static str>,
    counted: i32,
    error: Option<String>,
    delay: Option<f64>,
}

impl<'s> Row<'s> {
    fn of(verdict: &'s Verdict) -> Self {
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
            Verdict::Skipped { reason } => {
                Self { outcome: Some("skipped"), outcome_reason: Some(reason), ..row }
            }
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
    let rows: Vec<Row<'_>> = items.iter().map(|item| Row::of(&item.verdict)).collect();
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
        &rows.iter().map(|row| row.outcome_reason).collect::<Vec<_>>() as &[Option<&str>],
        &rows.iter().map(|row| row.failed_reason).collect::<Vec<_>>() as &[Option<&str>],
        &rows.iter().map(|row| row.counted).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.error.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &items.iter().map(|item| item.digest.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &rows.iter().map(|row| row.delay).collect::<Vec<_>>() as &[Option<f64>],
    );
    let hit = hit.fetch_all(&mut **tx).await.map_err(DbError::new("settling messages"))?;
    Ok(hit.into_iter().map(|row| (row.lane, row.seq)).collect())
}
