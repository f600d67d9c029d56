//! Rows that wait: held from now on, away from what is ready.

use mailroom_core::handler_machine::command::{LaneWrite, Spill};
use mailroom_core::ids::LaneId;

use super::Effects;
use crate::db::{DbError, Tx};

/// Marks rows as held where they are still pending, in one statement; without any there is none.
pub(super) async fn hold(tx: &mut Tx, lanes: &[LaneWrite<Effects>]) -> Result<(), DbError> {
    let spilled = lanes.iter().flat_map(|lane| lane.spill.iter().map(move |spill| (lane.lease.lane, *spill)));
    let mut rows: Vec<(LaneId, Spill)> = spilled.collect();
    if rows.is_empty() {
        return Ok(());
    }
    // They are locked in this order.
    rows.sort_unstable_by_key(|(lane, spill)| (*lane, spill.seq));
    let all = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    if hold_those(tx, &rows).await? < all {
        // A row that was edited while its lock was waited for is seen only by a statement that begins after that.
        // Nobody would find it: it is not in memory any more.
        hold_those(tx, &rows).await?;
    }
    Ok(())
}

async fn hold_those(tx: &mut Tx, rows: &[(LaneId, Spill)]) -> Result<u64, DbError> {
    let held = sqlx::query_file!(
        "src/settle/spill.sql",
        &rows.iter().map(|(lane, _)| lane.0).collect::<Vec<_>>(),
        &rows.iter().map(|(_, spill)| spill.seq.0).collect::<Vec<_>>(),
        &rows.iter().map(|(_, spill)| spill.wakes).collect::<Vec<_>>(),
    );
    let held = held.execute(&mut **tx).await.map_err(DbError::new("holding messages that wait"))?;
    Ok(held.rows_affected())
}
