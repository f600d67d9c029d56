//! The lanes that this relay owns: how far each was read, and from where it must be read again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::lane::Lease;

/// One lane.
#[derive(Debug)]
struct Lane {
    lease: Lease,
    /// What the last look at it showed up to here is known.
    mark: i64,
    /// Where the look under way starts, at the highest.
    late: i64,
    /// How many rows that look is to give of it at most; none where it leaves the lane out.
    bound: Option<usize>,
    /// How many it gave, how many of these were new, and the last of them.
    got: usize,
    fresh: usize,
    last: i64,
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

/// Where a look starts, lane by lane, and how many rows it is to give.
#[derive(Debug, Default)]
pub(super) struct Starts {
    pub(super) lanes: Vec<i32>,
    pub(super) late: Vec<i64>,
    pub(super) bounds: Vec<i64>,
    /// Rows that may come though they are known.
    pub(super) known: usize,
}

/// What a look was as a whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looked {
    /// The last row's `seq`, where the look was cut by its bound of all rows.
    pub(super) cut_at: Option<i64>,
    /// The highest `seq` drawn.
    pub(super) last_seq: i64,
    /// Where it started if that was below where the lanes asked it to.
    pub(super) floor: Option<i64>,
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
            late: 0,
            bound: None,
            got: 0,
            fresh: 0,
            last: 0,
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

    /// Begins a look that starts at the horizon where lanes were read so far: gives so many new rows a
    /// lane at most, and known ones with them.
    pub(super) fn begin_look(&mut self, horizon: i64, lane_rows_max: usize) -> Starts {
        let mut starts = Starts::default();
        for (id, lane) in &mut self.lanes {
            lane.bound = None;
            if lane.closing {
                continue;
            }
            lane.stale = false;
            lane.ended.clear();
            lane.late = lane.mark.min(horizon);
            (lane.got, lane.fresh, lane.last) = (0, 0, 0);
            let known = lane.in_hand.len() + lane.again.range(lane.late + 1..).count();
            let bound = lane_rows_max + known;
            lane.bound = Some(bound);
            starts.lanes.push(*id);
            starts.late.push(lane.late);
            starts.bounds.push(i64::try_from(bound).unwrap_or(i64::MAX));
            starts.known += known;
        }
        starts
    }

    /// Takes note of a row that a look brought. `false` where it is known already, or the lane is not
    /// ours, or was set back since.
    pub(super) fn read(&mut self, lane: i32, seq: i64) -> bool {
        let Some(lane) = self.lanes.get_mut(&lane).filter(|lane| !lane.stale) else { return false };
        lane.got += 1;
        lane.last = seq;
        let new = !lane.ended.contains(&seq) && !lane.again.contains_key(&seq) && lane.in_hand.insert(seq);
        lane.fresh += usize::from(new);
        new
    }

    /// The look has ended. What it showed of a lane is known up to where it was cut, which may be below
    /// the mark so far, and beyond all rows if it was not.
    pub(super) fn looked(&mut self, look: Looked) {
        for lane in self.lanes.values_mut() {
            let Some(bound) = lane.bound.take() else { continue };
            if lane.stale {
                // Late rows were passed over with the others.
                lane.mark = lane.mark.min(lane.late).min(look.floor.unwrap_or(i64::MAX));
                continue;
            }
            let own_cut = (lane.got >= bound).then_some(lane.last);
            match own_cut.into_iter().chain(look.cut_at).min() {
                None => {
                    lane.mark = look.last_seq;
                    lane.hungry = false;
                }
                Some(cut_at) => {
                    lane.hungry = own_cut.is_some() || lane.fresh > 0 || cut_at < lane.mark;
                    lane.mark = cut_at;
                }
            }
        }
    }

    /// Per lane, a `seq` up to which no row waits that is not known, nor will one but of a straggler; rows
    /// in hand are above it. Looks are taken to start at `start`.
    pub(super) fn floors(&self, start: i64) -> HashMap<i32, i64> {
        let floor = |lane: &Lane| {
            let first = lane.in_hand.iter().min().map_or(i64::MAX, |seq| seq - 1);
            lane.mark.min(start).min(first)
        };
        self.lanes.iter().map(|(id, lane)| (*id, floor(lane))).collect()
    }

    /// A topic goes on: lanes are set back to these floors, those that were taken since to their start.
    pub(super) fn set_back_to(&mut self, floors: &HashMap<i32, i64>) {
        for (id, lane) in &mut self.lanes {
            lane.set_back(floors.get(id).map_or(1, |floor| floor + 1));
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

    /// Sets the marks back for what is due; gives where to, for lanes that were.
    pub(super) fn rewind(&mut self, now: Instant) -> Vec<(i32, i64)> {
        let mut rewound = Vec::new();
        for (id, lane) in &mut self.lanes {
            if lane.again_first.is_none_or(|first| first > now) {
                continue;
            }
            let due: Vec<i64> =
                lane.again.iter().filter(|(_, at)| **at <= now).map(|(seq, _)| *seq).collect();
            for seq in due {
                lane.again.remove(&seq);
                lane.set_back(seq);
                rewound.push((*id, seq - 1));
            }
            lane.again_first = lane.again.values().min().copied();
        }
        rewound
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

    /// Lanes that an operator touched are read from their start; gives them.
    pub(super) fn reread(&mut self) -> Vec<i32> {
        let mut touched = Vec::new();
        for (id, lane) in &mut self.lanes {
            if lane.lease.take_reread() {
                lane.set_back(1);
                touched.push(*id);
            }
        }
        touched
    }
}
