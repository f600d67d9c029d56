//! The lanes that this relay owns: how far each was read, and from where it must be read again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::lane::Lease;

/// One lane.
#[derive(Debug)]
struct Lane {
    lease: Lease,
    /// The last `seq` read.
    mark: i64,
    /// Whether the last look at it was cut by its limit.
    hungry: bool,
    /// The mark was set back: what a look under way brings of it is left out, since rows between the two
    /// would be passed over.
    stale: bool,
    /// Another host is to have it: nothing more of it is read.
    closing: bool,
    /// Rows that were read and are not marked yet.
    in_hand: HashSet<i64>,
    /// Rows that left our hands since the look under way began: it may still see them as pending.
    ended: HashSet<i64>,
    /// Rows to look at again, and when.
    again: BTreeMap<i64, Instant>,
    /// The earliest of these times.
    again_first: Option<Instant>,
}

impl Lane {
    fn set_back(&mut self, seq: i64) {
        self.mark = self.mark.min(seq - 1);
        self.hungry = true;
        self.stale = true;
    }
}

/// Where a look starts, lane by lane.
#[derive(Debug, Default)]
pub(super) struct Starts {
    pub(super) lanes: Vec<i32>,
    pub(super) late: Vec<i64>,
    pub(super) marks: Vec<i64>,
    pub(super) known: Vec<i32>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<i32, Lane>,
}

impl Lanes {
    /// A lane was taken: it is read from its start once.
    pub(super) fn add(&mut self, lease: Lease) {
        let lane = Lane {
            mark: 0,
            hungry: true,
            stale: true,
            closing: false,
            in_hand: HashSet::new(),
            ended: HashSet::new(),
            again: BTreeMap::new(),
            again_first: None,
            lease,
        };
        self.lanes.insert(lane.lease.lane, lane);
    }

    /// Lanes that are still ours; those that were lost are dropped with what is known of them. Gives
    /// whether any was dropped.
    pub(super) fn drop_lost(&mut self) -> bool {
        let before = self.lanes.len();
        self.lanes.retain(|_, lane| !lane.lease.is_lost());
        self.lanes.len() < before
    }

    /// Stops reading a lane.
    pub(super) fn close(&mut self, lane: i32) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.closing = true;
        }
    }

    /// Takes out the lanes that were closed and have nothing in hand.
    pub(super) fn closed(&mut self) -> Vec<Lease> {
        let closed = |lane: &Lane| lane.closing && lane.in_hand.is_empty();
        let closed: Vec<i32> =
            self.lanes.iter().filter(|(_, lane)| closed(lane)).map(|(id, _)| *id).collect();
        closed.iter().filter_map(|id| self.lanes.remove(id)).map(|lane| lane.lease).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Whether more is known to lie in the table.
    pub(super) fn hungry(&self) -> usize {
        self.lanes.values().filter(|lane| lane.hungry && !lane.closing).count()
    }

    pub(super) fn lease(&self, lane: i32) -> Option<&Lease> {
        self.lanes.get(&lane).map(|lane| &lane.lease)
    }

    /// The leases of these lanes, for their tokens.
    pub(super) fn leases(&self, of: impl Iterator<Item = i32>) -> BTreeMap<i32, Lease> {
        of.filter_map(|lane| Some((lane, self.lease(lane)?.clone()))).collect()
    }

    pub(super) fn all(&self) -> Vec<&Lease> {
        self.lanes.values().map(|lane| &lane.lease).collect()
    }

    /// Begins a look: for each lane where late rows are looked for from, how far it was read, and how
    /// many rows of it are known.
    pub(super) fn begin_look(&mut self, horizon: i64) -> Starts {
        let mut starts = Starts::default();
        for (id, lane) in self.lanes.iter_mut().filter(|(_, lane)| !lane.closing) {
            lane.stale = false;
            lane.ended.clear();
            starts.lanes.push(*id);
            starts.late.push(lane.mark.min(horizon));
            starts.marks.push(lane.mark);
            starts.known.push(i32::try_from(lane.in_hand.len()).unwrap_or(i32::MAX));
        }
        starts
    }

    /// Takes note of a row that a look brought. `false` where it is known already, or the lane is not
    /// ours, or was set back since.
    pub(super) fn read(&mut self, lane: i32, seq: i64) -> bool {
        let Some(lane) = self.lanes.get_mut(&lane).filter(|lane| !lane.stale) else { return false };
        lane.mark = lane.mark.max(seq);
        !lane.ended.contains(&seq) && !lane.again.contains_key(&seq) && lane.in_hand.insert(seq)
    }

    /// Per lane, a `seq` up to which nothing waits that is not known.
    pub(super) fn floors(&self, horizon: i64) -> HashMap<i32, i64> {
        let floor = |lane: &Lane| {
            let first = lane.in_hand.iter().min().map_or(i64::MAX, |seq| seq - 1);
            lane.mark.min(horizon).min(first)
        };
        self.lanes.iter().map(|(id, lane)| (*id, floor(lane))).collect()
    }

    /// A topic goes on: lanes are set back to these floors, those that were taken since to their start.
    pub(super) fn set_back_to(&mut self, floors: &HashMap<i32, i64>) {
        for (id, lane) in &mut self.lanes {
            lane.set_back(floors.get(id).map_or(1, |floor| floor + 1));
        }
    }

    /// Takes note of how many rows a look at each lane gave.
    pub(super) fn looked(&mut self, rows: &HashMap<i32, usize>, lane_rows_max: usize, cut: bool) {
        for (id, lane) in self.lanes.iter_mut().filter(|(_, lane)| !lane.stale) {
            let got = rows.get(id).copied().unwrap_or(0);
            lane.hungry = got >= lane_rows_max || (cut && got > 0);
        }
    }

    /// The row is out of our hands: marked, failed, or gone.
    pub(super) fn done(&mut self, lane: i32, seq: i64) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.in_hand.remove(&seq);
            lane.ended.insert(seq);
        }
    }

    /// The row's topic is held: it is read again when that goes on.
    pub(super) fn put_back(&mut self, lane: i32, seq: i64) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.in_hand.remove(&seq);
        }
    }

    /// The row is to be looked at again, after `wait`, and with it what follows.
    pub(super) fn again(&mut self, lane: i32, seq: i64, wait: Duration) {
        let Some(lane) = self.lanes.get_mut(&lane) else { return };
        lane.in_hand.remove(&seq);
        let due = Instant::now() + wait;
        lane.again.insert(seq, due);
        lane.again_first = Some(lane.again_first.map_or(due, |first| first.min(due)));
    }

    /// When the next row is due to be looked at again.
    pub(super) fn next_again(&self) -> Option<Instant> {
        self.lanes.values().filter_map(|lane| lane.again_first).min()
    }

    /// Sets the marks back for what is due.
    pub(super) fn rewind(&mut self, now: Instant) {
        for lane in self.lanes.values_mut() {
            if lane.again_first.is_none_or(|first| first > now) {
                continue;
            }
            let due: Vec<i64> =
                lane.again.iter().filter(|(_, at)| **at <= now).map(|(seq, _)| *seq).collect();
            for seq in due {
                lane.again.remove(&seq);
                lane.set_back(seq);
            }
            lane.again_first = lane.again.values().min().copied();
        }
    }

    /// Everything in hand is to be read again from the table, but for what `keep` names.
    pub(super) fn forget(&mut self, keep: &HashSet<(i32, i64)>) {
        for (id, lane) in &mut self.lanes {
            let mut lowest = i64::MAX;
            lane.in_hand.retain(|seq| {
                let kept = keep.contains(&(*id, *seq));
                if !kept {
                    lowest = lowest.min(*seq);
                }
                kept
            });
            if lowest < i64::MAX {
                lane.set_back(lowest);
            }
        }
    }

    /// An operator touched these lanes: they are read from their start.
    pub(super) fn reread(&mut self) {
        for lane in self.lanes.values_mut() {
            if lane.lease.take_reread() {
                lane.set_back(1);
            }
        }
    }
}
