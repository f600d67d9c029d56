//! The lanes that this relay owns: how far each was read, and from where it must be read again.

use std::collections::BTreeMap;

/// Identifies a look by its place among all of them.
pub(super) type LookNumber = u64;

/// Rows in hand of a lane, and the bytes that they take in memory.
#[derive(Debug, Clone, Default)]
struct InHand {
    rows: BTreeMap<i64, usize>,
    bytes: usize,
}

impl InHand {
    /// Takes a row; `false` where it is there.
    fn insert(&mut self, seq: i64, bytes: usize) -> bool {
        let is_new = !self.rows.contains_key(&seq);
        if is_new {
            self.rows.insert(seq, bytes);
            self.bytes += bytes;
        }
        is_new
    }

    fn remove(&mut self, seq: i64) {
        self.bytes = self.bytes.saturating_sub(self.rows.remove(&seq).unwrap_or(0));
    }
}

/// One lane.
#[derive(Debug, Clone, Default)]
struct Lane {
    /// High-water mark: every row up to here that was visible to the last look has been read.
    mark: i64,
    /// Bound of rows for the look under way; none where it leaves the lane out.
    bound: Option<usize>,
    /// Count of the rows that it gave, how many of these were new, and the last of them.
    got: usize,
    fresh: usize,
    last: i64,
    /// True if the last look at it was cut by its limit.
    has_more: bool,
    /// The mark was set back while a look was under way: its rows above are left out, for they would hide those
    /// between the two.
    rewind_to: Option<i64>,
    /// Another host is to have it: nothing more of it is read.
    closing: bool,
    /// Rows that were read and are not marked yet.
    in_hand: InHand,
    /// Rows that left our hands, and the newest look of then: looks up to that one may still see them as pending.
    ended: BTreeMap<i64, LookNumber>,
}

impl Lane {
    fn set_back(&mut self, to: i64) {
        self.mark = self.mark.min(to);
        self.has_more = true;
        if self.bound.is_some() {
            self.rewind_to = Some(self.rewind_to.map_or(to, |before| before.min(to)));
        }
    }

    /// Takes the row in hand; `false` where it is known to the look that brought it.
    fn take(&mut self, (seq, bytes): (i64, usize), look: LookNumber) -> bool {
        self.ended.get(&seq).is_none_or(|newest| *newest < look) && self.in_hand.insert(seq, bytes)
    }
}

/// Start of a look, lane by lane, and the number of rows that it is to give.
#[derive(Debug, Default)]
pub(super) struct Starts {
    pub(super) lanes: Vec<i32>,
    pub(super) late: Vec<i64>,
    pub(super) bounds: Vec<i64>,
    /// Rows that may come though they are known.
    pub(super) known: usize,
}

/// Facts about a look as a whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looked {
    /// The last row's `seq`, where the look was cut by its bound of all rows.
    pub(super) cut_at: Option<i64>,
    /// The highest `seq` drawn.
    pub(super) last_seq: i64,
    /// Start of the look, if that was below where the lanes asked it to begin.
    pub(super) floor: Option<i64>,
}

/// A lane's floor: nothing up to it waits, by lane.
pub(super) type Floors = BTreeMap<i32, i64>;

/// Lanes that this relay has.
#[derive(Debug, Clone, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<i32, Lane>,
}

impl Lanes {
    /// Adds a lane, to be read from its start once.
    pub(super) fn add(&mut self, lane: i32) {
        self.lanes.insert(lane, Lane { has_more: true, ..Lane::default() });
    }

    /// Removes a lane with all that is known of it; `false` where it was not there.
    pub(super) fn remove(&mut self, lane: i32) -> bool {
        self.lanes.remove(&lane).is_some()
    }

    pub(super) fn has(&self, lane: i32) -> bool {
        self.lanes.contains_key(&lane)
    }

    /// Stops reading a lane.
    pub(super) fn close(&mut self, lane: i32) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.closing = true;
        }
    }

    /// Takes out the lanes that were closed and have nothing in hand.
    pub(super) fn closed(&mut self) -> Vec<i32> {
        let closed = self.lanes.extract_if(.., |_, lane| lane.closing && lane.in_hand.rows.is_empty());
        closed.map(|(id, _)| id).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn ids(&self) -> Vec<i32> {
        self.lanes.keys().copied().collect()
    }

    /// The lanes of which more is known to lie in the table.
    pub(super) fn with_more(&self) -> usize {
        self.lanes.values().filter(|lane| lane.has_more && !lane.closing).count()
    }

    /// All rows that were read and are not marked yet.
    pub(super) fn in_hand(&self) -> usize {
        self.lanes.values().map(|lane| lane.in_hand.rows.len()).sum()
    }

    /// The bytes that these take in memory.
    pub(super) fn bytes_in_hand(&self) -> usize {
        self.lanes.values().map(|lane| lane.in_hand.bytes).sum()
    }

    /// The bytes of the largest of them.
    pub(super) fn largest_in_hand(&self) -> usize {
        let rows = self.lanes.values().flat_map(|lane| lane.in_hand.rows.values());
        rows.copied().max().unwrap_or(0)
    }

    /// Gives the rows in hand, with their lanes.
    pub(super) fn rows_in_hand(&self) -> impl Iterator<Item = (i32, i64)> {
        self.lanes.iter().flat_map(|(id, lane)| lane.in_hand.rows.keys().map(|seq| (*id, *seq)))
    }

    /// Begins a look that starts at the horizon where lanes were read so far: asks for so many new rows a
    /// lane at most, and for known ones with them.
    pub(super) fn begin_look(&mut self, horizon: i64, lane_rows_max: usize) -> Starts {
        let mut starts = Starts::default();
        for (id, lane) in &mut self.lanes {
            lane.bound = None;
            if lane.closing {
                continue;
            }
            lane.rewind_to = None;
            (lane.got, lane.fresh, lane.last) = (0, 0, 0);
            let known = lane.in_hand.rows.len();
            lane.bound = Some(lane_rows_max + known);
            starts.push(*id, lane.mark.min(horizon), lane_rows_max, known);
        }
        starts
    }

    /// Returns the start of a look at something other than the next rows: it sees all.
    pub(super) fn begin_aside(&self, lane_rows_max: usize) -> Starts {
        let mut starts = Starts::default();
        for (id, lane) in self.lanes.iter().filter(|(_, lane)| !lane.closing) {
            starts.push(*id, 0, lane_rows_max, lane.in_hand.rows.len());
        }
        starts
    }

    /// Forgets rows that ended before the look `oldest` began; none that is older is under way.
    pub(super) fn forget_ended(&mut self, oldest: LookNumber) {
        for lane in self.lanes.values_mut() {
            lane.ended.retain(|_, newest| *newest >= oldest);
        }
    }

    /// Takes a row in hand, by its `seq` and its bytes in memory, that the look `look` at the next rows brought. `false` where it is known already, or
    /// the lane is not ours, or was set back since.
    pub(super) fn read(&mut self, lane: i32, row: (i64, usize), look: LookNumber) -> bool {
        let seq = row.0;
        let Some(lane) = self.lanes.get_mut(&lane).filter(|lane| lane.bound.is_some()) else { return false };
        lane.got += 1;
        lane.last = seq;
        let new = lane.rewind_to.is_none_or(|to| seq <= to) && lane.take(row, look);
        lane.fresh += usize::from(new);
        new
    }

    /// The same of another look, which says nothing of how far the lane was read.
    pub(super) fn read_aside(&mut self, lane: i32, row: (i64, usize), look: LookNumber) -> bool {
        self.lanes.get_mut(&lane).is_some_and(|lane| !lane.closing && lane.take(row, look))
    }

    /// Ends the look at the next rows. What it showed of a lane is known up to where it was cut, which may be
    /// below the mark so far, and beyond all rows if it was not.
    pub(super) fn looked(&mut self, look: Looked) {
        for lane in self.lanes.values_mut() {
            let Some(bound) = lane.bound.take() else { continue };
            let own_cut = (lane.got >= bound).then_some(lane.last);
            match own_cut.into_iter().chain(look.cut_at).min() {
                None => {
                    lane.mark = look.last_seq;
                    lane.has_more = false;
                }
                Some(cut_at) => {
                    lane.has_more = own_cut.is_some() || lane.fresh > 0 || cut_at < lane.mark;
                    lane.mark = cut_at;
                }
            }
            if let Some(to) = lane.rewind_to.take() {
                // A topic that was let go meanwhile was left out, and whose late rows this look alone would have seen.
                lane.set_back(to.min(look.floor.unwrap_or(to)));
            }
        }
    }

    /// Ends it without a result.
    pub(super) fn look_failed(&mut self) {
        for lane in self.lanes.values_mut() {
            (lane.bound, lane.rewind_to) = (None, None);
        }
    }

    /// Returns for each lane a `seq` up to which no row waits that is not known, nor will one but of a
    /// straggler; rows in hand are above it. Looks are taken to start at `start`.
    pub(super) fn floors(&self, start: i64) -> Floors {
        let floor = |lane: &Lane| {
            let first = lane.in_hand.rows.keys().next().map_or(i64::MAX, |seq| seq - 1);
            lane.mark.min(start).min(first)
        };
        self.lanes.iter().map(|(id, lane)| (*id, floor(lane))).collect()
    }

    /// Sets lanes back to these floors, those that were taken since to their start.
    pub(super) fn set_back_to(&mut self, floors: &Floors) {
        for (id, lane) in &mut self.lanes {
            lane.set_back(floors.get(id).copied().unwrap_or(0));
        }
    }

    /// Has the row read again, and with it what follows.
    pub(super) fn read_again(&mut self, lane: i32, seq: i64) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.in_hand.remove(seq);
            lane.set_back(seq - 1);
        }
    }

    /// Reads a lane from its start.
    pub(super) fn reread(&mut self, lane: i32) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.set_back(0);
        }
    }

    /// The table may be another: nothing of what is known holds.
    pub(super) fn begin_anew(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.in_hand = InHand::default();
            lane.ended.clear();
            lane.set_back(0);
        }
    }

    /// The row is out of our hands: marked, failed, or gone.
    pub(super) fn done(&mut self, lane: i32, seq: i64, newest: LookNumber) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.in_hand.remove(seq);
            lane.ended.insert(seq, newest);
        }
    }

    /// The row's topic is held: it is read again when that goes on.
    pub(super) fn put_back(&mut self, lane: i32, seq: i64) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.in_hand.remove(seq);
        }
    }
}

impl Starts {
    fn push(&mut self, lane: i32, late: i64, lane_rows_max: usize, known: usize) {
        self.lanes.push(lane);
        self.late.push(late);
        self.bounds.push(i64::try_from(lane_rows_max + known).unwrap_or(i64::MAX));
        self.known += known;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Looked = Looked { cut_at: None, last_seq: 100, floor: None };

    fn one_lane() -> Lanes {
        let mut lanes = Lanes::default();
        lanes.add(7);
        lanes
    }

    #[test]
    fn a_lane_that_is_set_back_during_a_look_takes_the_rows_below_and_leaves_those_above() {
        let mut lanes = one_lane();
        assert_eq!(lanes.begin_look(50, 10).late, [0]);
        lanes.read_again(7, 41);
        assert!(lanes.read(7, (40, 1), 1) && !lanes.read(7, (41, 1), 1) && !lanes.read(7, (42, 1), 1));
        lanes.looked(ALL);
        assert_eq!(lanes.with_more(), 1);
        assert_eq!(lanes.begin_look(50, 10).late, [40]);
        assert!(!lanes.read(7, (40, 1), 2), "it is in hand");
        assert!(lanes.read(7, (41, 1), 2));
        lanes.looked(ALL);
        assert_eq!((lanes.with_more(), lanes.begin_look(1_000, 10).late), (0, vec![100]));
    }

    #[test]
    fn a_lane_that_is_set_back_during_a_look_for_late_rows_is_read_from_their_floor() {
        let mut lanes = one_lane();
        lanes.begin_look(50, 10);
        lanes.set_back_to(&Floors::from([(7, 40)]));
        lanes.looked(Looked { floor: Some(12), ..ALL });
        assert_eq!(lanes.begin_look(50, 10).late, [12]);
    }

    #[test]
    fn a_lane_that_was_taken_since_a_look_began_takes_nothing_from_it() {
        let mut lanes = one_lane();
        lanes.begin_look(0, 10);
        assert!(lanes.remove(7));
        lanes.add(7);
        assert!(!lanes.read(7, (1, 1), 1));
        lanes.looked(ALL);
        assert_eq!(lanes.begin_look(1_000, 10).late, [0]);
    }

    #[test]
    fn a_row_that_ended_is_passed_over_by_looks_that_may_see_it_as_pending() {
        let mut lanes = one_lane();
        lanes.begin_look(0, 10);
        assert!(lanes.read(7, (1, 1), 1));
        lanes.looked(ALL);
        lanes.done(7, 1, 2);
        assert!(!lanes.read_aside(7, (1, 1), 2), "look 2 was under way when it ended");
        lanes.forget_ended(2);
        assert!(!lanes.read_aside(7, (1, 1), 2));
        assert!(lanes.read_aside(7, (1, 1), 3), "another row, or the same replayed");
        lanes.forget_ended(3);
        lanes.put_back(7, 1);
        assert!(lanes.read_aside(7, (1, 1), 2), "it is forgotten");
    }

    #[test]
    fn floors_are_below_what_is_in_hand_and_a_new_lane_is_read_from_its_start() {
        let mut lanes = one_lane();
        lanes.begin_look(0, 10);
        assert!(lanes.read(7, (30, 1), 1) && lanes.read(7, (60, 1), 1));
        lanes.looked(ALL);
        let floors = lanes.floors(80);
        assert_eq!(floors, Floors::from([(7, 29)]));
        lanes.add(8);
        lanes.set_back_to(&floors);
        assert_eq!(lanes.begin_look(1_000, 10).late, [29, 0]);
    }

    #[test]
    fn the_bytes_in_hand_are_those_of_the_rows_in_hand() {
        let mut lanes = one_lane();
        lanes.begin_look(0, 10);
        assert!(lanes.read(7, (1, 100), 1) && lanes.read(7, (2, 30), 1) && !lanes.read(7, (1, 100), 1));
        assert_eq!((lanes.bytes_in_hand(), lanes.largest_in_hand()), (130, 100));
        lanes.done(7, 1, 1);
        lanes.done(7, 1, 1);
        assert_eq!(lanes.bytes_in_hand(), 30);
        lanes.read_again(7, 2);
        assert_eq!(lanes.bytes_in_hand(), 0);
        assert!(lanes.read_aside(7, (3, 5), 1));
        lanes.begin_anew();
        assert_eq!(lanes.bytes_in_hand(), 0);
    }
}
