//! The transaction itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use mailroom_core::handler_machine::command::{LaneWrite, NewRowState, Write};
use mailroom_core::handler_machine::event::Written;
use mailroom_core::ids::{LaneId, Lease, RereadCount, Seq};

use super::duplicates::{self, Dropped};
use super::fresh::Record;
use super::settlement::{self, Place, Row, Settlement};
use super::{Effects, attempt, block, dead_letter, fresh, reads, rows, spill, write};
use crate::db::{Db, DbError, Tx, lanes};

/// Names under which messages are settled.
#[derive(Debug, Clone)]
pub(crate) struct Settler {
    pub(crate) handler: Arc<str>,
    pub(crate) group: Arc<str>,
    /// Name of this host for people.
    pub(crate) host: Arc<str>,
}

/// Result of a settlement. Only [`Settled::Done`] has written anything.
#[derive(Debug)]
pub(crate) enum Settled {
    /// The settlement is committed, but for records that were dropped as duplicates.
    Done(Written, Option<Dropped>),
    /// These lanes are another's.
    LanesLost(BTreeSet<LaneId>),
    /// Operators touched rows of these lanes, whose counts are given: that goes before records that have no row yet.
    Touched(BTreeMap<LaneId, RereadCount>),
    /// The offset rows of these lanes are not where they were left.
    OffsetMoved(BTreeSet<LaneId>),
    /// Messages whose reads are no longer so: another wrote this state after it was read, or the message that
    /// left it has no effects. They are to be called again.
    StateLost(BTreeSet<(LaneId, Seq)>),
}

/// Settles messages of one handler, and stores records that some of them are about: all of it or nothing.
pub(crate) async fn settle(db: &Db, of: &Settler, write: &Write<Effects>) -> Result<Settled, DbError> {
    let lanes: Vec<i32> = write.lanes.iter().map(|lane| lane.lease.lane.0).collect();
    let mut tx = db.begin_about("settling messages", lanes.into_iter()).await?;
    let settled = write_all(&mut tx, of, &write.lanes).await?;
    match settled {
        Settled::Done(..) => tx.commit().await?,
        Settled::LanesLost(_) | Settled::Touched(_) | Settled::OffsetMoved(_) | Settled::StateLost(_) => {
            tx.roll_back().await;
        }
    }
    Ok(settled)
}

/// Writes all of it; only [`Settled::Done`] is to be committed.
async fn write_all(tx: &mut Tx, of: &Settler, parts: &[LaneWrite<Effects>]) -> Result<Settled, DbError> {
    let leases: Vec<Lease> = parts.iter().map(|part| part.lease).collect();
    let rereads = lanes::fence(tx, leases.iter().copied()).await?;
    let lost = leases.iter().map(|lease| lease.lane).filter(|lane| !rereads.contains_key(lane));
    let lost: BTreeSet<LaneId> = lost.collect();
    if !lost.is_empty() {
        return Ok(Settled::LanesLost(lost));
    }
    let touched = touched(parts, &rereads);
    if !touched.is_empty() {
        return Ok(Settled::Touched(touched));
    }
    let moved = fresh::advance(tx, &of.group, parts).await?;
    if !moved.is_empty() {
        return Ok(Settled::OffsetMoved(moved));
    }
    let records = fresh::records(parts);
    let items = settlement::all(parts, &records);
    let (hit, inserted) = write_rows(tx, &of.group, &items, &records).await?;
    spill::hold(tx, parts).await?;
    let lost = reads::based_on_nothing(&items, &hit);
    if !lost.is_empty() {
        return Ok(Settled::StateLost(lost));
    }
    let hits: Vec<&Settlement<'_>> = items.iter().filter(|item| hit.contains(&item.place())).collect();
    let lost = write_effects(tx, of, &hits).await?;
    if !lost.is_empty() {
        return Ok(Settled::StateLost(lost));
    }
    let dropped = duplicates::note(tx, &of.group, &records, &inserted).await?;
    let with_rows = items.iter().filter(|item| item.row != Row::New).map(Settlement::place);
    let missed = with_rows.filter(|place| !hit.contains(place)).collect();
    let emitted = hits.iter().any(|item| !item.outgoing.is_empty());
    let duplicates = records.iter().map(Record::place).filter(|(_, seq)| !inserted.contains(seq)).collect();
    Ok(Settled::Done(Written { missed, duplicates, rereads, emitted }, dropped))
}

/// Gives the lanes that operators have touched since their owner looked, of which records get rows that are not held.
fn touched(
    parts: &[LaneWrite<Effects>],
    rereads: &BTreeMap<LaneId, RereadCount>,
) -> BTreeMap<LaneId, RereadCount> {
    let goes_on = |part: &&LaneWrite<Effects>| {
        let mut rows = part.insert.iter().flat_map(|insert| &insert.rows);
        rows.any(|row| !matches!(row.as_what, NewRowState::Held))
    };
    let counts = parts.iter().filter(goes_on).filter_map(|part| {
        let count = *rereads.get(&part.lease.lane)?;
        (count > part.reread_seen).then_some((part.lease.lane, count))
    });
    counts.collect()
}

/// Ends rows and makes those that are not there; gives the messages that ended by it, and the records that the group
/// did not have.
async fn write_rows(
    tx: &mut Tx,
    group: &str,
    items: &[Settlement<'_>],
    records: &[Record<'_>],
) -> Result<(HashSet<Place>, HashSet<Seq>), DbError> {
    let mut hit = rows::end(tx, items).await?;
    let inserted = fresh::insert(tx, group, records).await?;
    fresh::begin(tx, records, &inserted).await?;
    let new = items.iter().filter(|item| item.row == Row::New).map(Settlement::place);
    hit.extend(new.filter(|(_, seq)| inserted.contains(seq)));
    Ok((hit, inserted))
}

/// Writes what messages leave; gives those that rest on state which is not so.
async fn write_effects(
    tx: &mut Tx,
    of: &Settler,
    hits: &[&Settlement<'_>],
) -> Result<BTreeSet<Place>, DbError> {
    write::emitted(tx, &of.group, hits).await?;
    attempt::insert(tx, of, hits).await?;
    dead_letter::insert(tx, of, hits).await?;
    block::keys(tx, hits).await?;
    // Before the writes, so that a reader and a writer of one value pass together, the reader first.
    let mut lost = reads::stale(tx, &of.group, hits).await?;
    lost.extend(write::state(tx, &of.group, hits).await?);
    Ok(lost)
}
