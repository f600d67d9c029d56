//! The inbox rows of a settlement: those that were ready in one update, those that were held in another.

use std::collections::HashSet;

use mailroom_core::ids::{LaneId, Seq};

use super::fresh::some;
use super::settlement::{Ending, Place, Row, Settlement};
use crate::db::{DbError, Tx};

/// Runs one of the two statements, which take the same columns and differ in the index that finds the rows.
macro_rules! end {
    ($tx:expr, $of:expr, $file:literal, $what:literal) => {{
        let (tx, of): (&mut Tx, &Columns<'_>) = ($tx, $of);
        let hit = sqlx::query_file!(
            $file,
            &of.lanes,
            &of.seqs,
            &of.deliveries,
            &of.each(|ending| ending.status) as &[&str],
            &of.some(|ending| ending.outcome) as &[Option<&str>],
            &of.some(|ending| ending.outcome_reason.as_deref()) as &[Option<&str>],
            &of.some(|ending| ending.failed_reason) as &[Option<&str>],
            &of.each(|ending| ending.counted),
            &of.some(|ending| ending.error.as_deref()) as &[Option<&str>],
            &of.digests as &[Option<&str>],
            &of.some(|ending| ending.delay) as &[Option<f64>],
            &of.each(|ending| ending.held),
        );
        let hit = hit.fetch_all(&mut **tx).await.map_err(DbError::new($what))?;
        hit.into_iter().map(|row| (LaneId(row.lane), Seq(row.seq)))
    }};
}

/// Ends the deliveries of messages that have rows; gives the rows that were as they were called. Where no row is of
/// a kind there is no statement for it: the held ones are few.
pub(super) async fn end(tx: &mut Tx, items: &[Settlement<'_>]) -> Result<HashSet<Place>, DbError> {
    let mut hit = HashSet::new();
    let ready = Columns::of(items, Row::Ready);
    if !ready.is_empty() {
        hit.extend(end!(tx, &ready, "src/settle/rows.sql", "settling messages"));
    }
    let held = Columns::of(items, Row::Held);
    if !held.is_empty() {
        hit.extend(end!(tx, &held, "src/settle/rows_held.sql", "settling held messages"));
    }
    Ok(hit)
}

/// Messages whose rows are of one kind by column, as `unnest` takes them.
struct Columns<'i> {
    lanes: Vec<i32>,
    seqs: Vec<i64>,
    deliveries: Vec<i32>,
    digests: Vec<Option<&'i str>>,
    endings: Vec<Ending>,
}

impl<'i> Columns<'i> {
    fn of(items: &[Settlement<'i>], row: Row) -> Self {
        let items: Vec<&Settlement<'i>> = items.iter().filter(|item| item.row == row).collect();
        let deliveries = |item: &&Settlement<'_>| i32::try_from(item.message.deliveries).unwrap_or(i32::MAX);
        Self {
            lanes: items.iter().map(|item| item.message.lane).collect(),
            seqs: items.iter().map(|item| item.message.seq).collect(),
            deliveries: items.iter().map(deliveries).collect(),
            digests: some(items.iter().map(|item| item.digest).collect()),
            endings: items.iter().map(|item| item.ending()).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.endings.is_empty()
    }

    fn each<'c, T>(&'c self, field: impl Fn(&'c Ending) -> T) -> Vec<T> {
        self.endings.iter().map(field).collect()
    }

    fn some<'c, T>(&'c self, field: impl Fn(&'c Ending) -> Option<T>) -> Vec<Option<T>> {
        some(self.each(field))
    }
}
