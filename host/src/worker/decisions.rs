//! Decided messages that have their rows and wait to be settled, by lane.

use std::collections::{BTreeMap, HashSet};

use super::entry::Key;
use super::settling::Decided;

/// Fewer than this are not divided over two transactions.
const ROWS_MIN: usize = 100;

/// How much one settlement takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// At most so many, but for lanes that go whole.
    pub(super) rows_max: usize,
    /// About half of all, for another settlement beside it.
    pub(super) half: bool,
}

/// All of them; those of a lane in the order in which they were decided.
#[derive(Debug, Default)]
pub(super) struct Decisions(BTreeMap<i32, Vec<Decided>>);

impl Share {
    /// With how many of `in_all` it has enough.
    pub(super) fn enough(self, in_all: usize) -> usize {
        if self.half {
            in_all.div_ceil(2).clamp(ROWS_MIN, self.rows_max.max(ROWS_MIN))
        } else {
            self.rows_max
        }
    }
}

impl Decisions {
    pub(super) fn push(&mut self, decided: Decided) {
        self.0.entry(decided.key.lane).or_default().push(decided);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are of lanes that are not `busy`.
    pub(super) fn free(&self, busy: &HashSet<i32>) -> usize {
        self.0.iter().filter(|(lane, _)| !busy.contains(lane)).map(|(_, of_lane)| of_lane.len()).sum()
    }

    /// A lane is another's: nothing of it is settled.
    pub(super) fn forget(&mut self, lane: i32) {
        self.0.remove(&lane);
    }

    /// Takes back those of a key that can be called again.
    pub(super) fn take_repeatable(&mut self, key: Key) -> Vec<Decided> {
        self.take_if(key.lane, |decided| decided.key == key && !decided.settlement.message.begun)
    }

    /// Takes back those of a lane that `choose` picks.
    pub(super) fn take_if(&mut self, lane: i32, choose: impl Fn(&Decided) -> bool) -> Vec<Decided> {
        let Some(of_lane) = self.0.get_mut(&lane) else { return Vec::new() };
        let taken = of_lane.extract_if(.., |decided| choose(decided)).collect();
        if of_lane.is_empty() {
            self.0.remove(&lane);
        }
        taken
    }

    /// What the next settlement takes: all of the lanes in `whole`, and of those that are not `busy` as much as
    /// its share says, lane by lane, the lane with the oldest message first.
    pub(super) fn take(&mut self, whole: &HashSet<i32>, busy: &HashSet<i32>, share: Share) -> Vec<Decided> {
        let mut free: Vec<(bool, i64, i32, usize)> = Vec::new();
        for (lane, of_lane) in self.0.iter().filter(|(lane, _)| !busy.contains(lane)) {
            let oldest = of_lane.first().map_or(i64::MAX, |decided| decided.settlement.message.seq);
            free.push((!whole.contains(lane), oldest, *lane, of_lane.len()));
        }
        free.sort_unstable();
        let in_all: usize = free.iter().map(|(.., count)| count).sum();
        let enough = share.enough(in_all);
        let mut taken = Vec::new();
        for (part, _, lane, count) in free {
            let room = share.rows_max.saturating_sub(taken.len());
            if part && (room == 0 || taken.len() >= enough) {
                break;
            }
            let of_lane = self.0.entry(lane).or_default();
            taken.extend(of_lane.drain(..if part { count.min(room) } else { count }));
            if of_lane.is_empty() {
                self.0.remove(&lane);
            }
        }
        taken
    }
}
