//! Records of calls that failed, in one insert; a batch without any has no statement for them.

use super::Settler;
use super::dead_letter::{CODE_BYTES_MAX, DETAIL_BYTES_MAX};
use super::fresh::some;
use super::settlement::Settlement;
use crate::db::{DbError, Tx};
use crate::message::{LAST_ERROR_BYTES_MAX, bounded, tail};
use crate::pipeline::decide::Cause;

/// One row of the table.
struct Attempt<'s> {
    of: &'s Settlement<'s>,
    digest: &'s str,
    cause: &'s Cause,
}

impl<'s> Attempt<'s> {
    /// `None` where nothing was called, or nothing failed.
    fn of(item: &'s Settlement<'s>) -> Option<Self> {
        Some(Self { of: item, digest: item.digest?, cause: item.verdict.cause()? })
    }
}

/// Writes those of the messages in `hits`.
pub(super) async fn insert(tx: &mut Tx, of: &Settler, hits: &[&Settlement<'_>]) -> Result<(), DbError> {
    let rows: Vec<Attempt<'_>> = hits.iter().filter_map(|item| Attempt::of(item)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let count = |count: u32| i32::try_from(count.saturating_add(1)).unwrap_or(i32::MAX);
    let amount = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let code = |code: &Option<String>| code.as_deref().map(|code| bounded(code, CODE_BYTES_MAX));
    let detail = |text: &Option<String>| text.as_deref().map(|text| bounded(text, DETAIL_BYTES_MAX));
    let output = |text: Option<&str>| text.map(|text| tail(text, DETAIL_BYTES_MAX));
    let inserted = sqlx::query_file!(
        "src/settle/attempt.sql",
        &*of.host,
        &rows.iter().map(|row| row.of.message.lane).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.of.message.seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| count(row.of.message.deliveries)).collect::<Vec<_>>(),
        &rows.iter().map(|row| count(row.of.message.attempts_made)).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.digest).collect::<Vec<_>>() as &[&str],
        &some(rows.iter().map(|row| row.cause.fault).collect()) as &[Option<&str>],
        &some(rows.iter().map(|row| code(&row.cause.code)).collect()) as &[Option<String>],
        &rows.iter().map(|row| bounded(&row.cause.error, LAST_ERROR_BYTES_MAX)).collect::<Vec<_>>(),
        &some(rows.iter().map(|row| detail(&row.cause.detail)).collect()) as &[Option<String>],
        &some(rows.iter().map(|row| output(row.of.last_output)).collect()) as &[Option<String>],
        &rows.iter().map(|row| amount(row.of.usage.fuel)).collect::<Vec<_>>(),
        &rows.iter().map(|row| amount(row.of.usage.memory_peak)).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.of.usage.took.as_secs_f64() * 1000.0).collect::<Vec<_>>(),
    );
    inserted.execute(&mut **tx).await.map_err(DbError::new("writing down what failed"))?;
    Ok(())
}
