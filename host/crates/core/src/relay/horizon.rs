//! Horizon of a table: the `seq` up to which nothing can appear any more, and what may appear below it all
//! the same.
//!
//! Producers commit out of the order of `seq`: a lower one may become visible after higher ones were
//! read. A look at the table gives the highest `seq` drawn by then; a later look takes a transaction id
//! of its own. The two are a *sample* (L, X). Whoever drew a `seq` up to L had an id before (the table's
//! trigger sees to it; the id is the top-level one, subtransactions too), so a lower one than X.
//!
//! Once a look's snapshot has an xmax above X, its list of open transactions names every one below X
//! that had not ended. Whatever the others committed is seen by this look and by all that begin later. The
//! few that are named are *stragglers*: what they drew up to L is above the horizon as it was, their
//! *floor*. So the horizon rises to L though they are open, and this holds after every look:
//!
//! > A row up to the horizon that the look's snapshot did not show, and that a later one shows, belongs to
//! > a straggler and lies above its floor.
//!
//! (It was true of the old horizon, with floors that only stay or go; between the old one and L the row's
//! transaction has an id below X, and was open, so it is among the named, with a floor not above the old
//! horizon.) A transaction that had its id before the sample and draws its first `seq` after it is a
//! straggler for nothing. A prepared one is in the list until it is committed, as any open one.
//!
//! The other half is the lanes': after every look, all rows of a lane up to its mark that the snapshot
//! showed are known. The next look starts at the lowest of the lane's mark, the horizon and the floors of
//! those stragglers that have ended *in that look's own snapshot*, which the statement itself finds out. A
//! row that is new to it and not above the start would be one that the last look did not show, thus a
//! straggler's, thus above a floor that the start is not above. So every row is seen by the first look whose
//! snapshot shows it, along with what else that shows: nothing is lost, and of two rows of a key whose second
//! was drawn after the first was committed, the first is never seen later. A straggler that ended in a
//! look's snapshot has no more to show, and is forgotten after it.
//!
//! So a transaction that stays open for an hour delays nobody, and costs one walk over what was settled
//! meanwhile, when it ends. Where more than [`STRAGGLERS_MAX`] are open at once the horizon waits for
//! some of them, and looks walk over what was settled since.
//!
//! A snapshot's own xmax would not do for the id: it is one past the last transaction that *ended*, and
//! those that are open may lie above it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Snapshot;
use crate::time::Moment;

/// A sample costs a transaction id; rows between the horizon and the mark are read once more meanwhile.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// Number of rows after which a sample is taken at once: reading them again is dearer.
const SAMPLE_ROWS: i64 = 250;
/// More samples than this wait only where too many transactions stay open; the newest is then left out.
const SAMPLES_MAX: usize = 64;
/// Open transactions that the horizon may have passed: each look names them to Postgres.
pub const STRAGGLERS_MAX: usize = 64;

/// The horizon, the samples that wait to become it, and whom it has passed.
#[derive(Debug, Clone, Default)]
pub(super) struct Horizon {
    seq: i64,
    /// The highest `seq` that the last look saw drawn.
    drawn: i64,
    /// (`seq`, a transaction id above those of all who can have drawn it), oldest first.
    samples: VecDeque<(i64, i64)>,
    sampled_at: Option<Moment>,
    /// The floors of stragglers, by their ids.
    stragglers: BTreeMap<i64, i64>,
}

impl Horizon {
    /// Makes one that knows nothing but the highest `seq` drawn.
    pub(super) fn begin(drawn: i64) -> Self {
        Self { drawn, ..Self::default() }
    }

    /// Reads need not start below it, but for stragglers that have ended.
    pub(super) fn seq(&self) -> i64 {
        self.seq
    }

    /// The highest `seq` that the last look saw drawn.
    pub(super) fn drawn(&self) -> i64 {
        self.drawn
    }

    /// Ids and floors of the stragglers.
    pub(super) fn stragglers(&self) -> (Vec<i64>, Vec<i64>) {
        self.stragglers.iter().unzip()
    }

    /// Transactions below this id are to be named where they are open.
    pub(super) fn asks_below(&self) -> i64 {
        self.samples.back().map_or(0, |(_, id)| *id)
    }

    /// Tells whether the next look is to take a transaction id.
    pub(super) fn wants_sample(&self, now: Moment) -> bool {
        let newest = self.samples.back().map_or(self.seq, |(seq, _)| *seq);
        let due = self.sampled_at.is_none_or(|at| now.since(at) >= SAMPLE_EVERY);
        self.drawn > newest && self.samples.len() < SAMPLES_MAX && (due || self.drawn - newest >= SAMPLE_ROWS)
    }

    /// Takes in what a look saw; gives the lowest floor of the stragglers that had ended when it began,
    /// which is where it started, if any had.
    pub(super) fn seen(&mut self, snapshot: &Snapshot, now: Moment) -> Option<i64> {
        let ended = snapshot.ended.iter().filter_map(|id| self.stragglers.remove(id)).min();
        while let Some((seq, id)) = self.samples.front().copied()
            && snapshot.xmax > id
            && self.passes(snapshot.open.iter().copied().take_while(|open| *open < id))
        {
            self.seq = self.seq.max(seq);
            self.samples.pop_front();
        }
        if let Some(id) = snapshot.own_id {
            self.samples.push_back((self.drawn, id));
            self.sampled_at = Some(now);
        }
        self.drawn = snapshot.last_seq;
        ended
    }

    /// Makes stragglers of open transactions, unless they are too many.
    fn passes(&mut self, open: impl Iterator<Item = i64>) -> bool {
        let new: Vec<i64> = open.filter(|id| !self.stragglers.contains_key(id)).collect();
        if self.stragglers.len() + new.len() > STRAGGLERS_MAX {
            return false;
        }
        let floor = self.seq;
        self.stragglers.extend(new.into_iter().map(|id| (id, floor)));
        true
    }
}

#[cfg(test)]
mod tests;
