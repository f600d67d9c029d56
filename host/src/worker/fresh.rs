//! Records that have no row yet, lane by lane in the order in which they were polled. What a poll brought for a
//! lane is stored once all of it was decided, or when it has waited long enough: what is undecided then is
//! stored as pending.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::decisions::Share;
use super::entry::Key;
use super::in_hand::Weight;
use super::settling::Decided;
use crate::settle::Fresh;

/// So long records wait for the next of their calls to end. A slow handler's messages are stored as pending
/// then, and their neighbours are not kept waiting for them.
const WAIT: Duration = Duration::from_millis(10);
/// So long they wait in all, once they are their lane's oldest and the first of them was started.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// So long they wait for their turn to be started: behind a fast handler's backlog it comes before.
const TURN_MAX: Duration = Duration::from_secs(1);

/// Records of a lane that are stored together.
#[derive(Debug)]
pub(super) struct Unstored {
    pub(super) fresh: Fresh,
    /// Nothing of it is handled before it is stored.
    pub(super) stored_first: bool,
    /// What of it is in no queue.
    pub(super) away: Weight,
    /// Its messages that are queued and undecided, by `seq`.
    open: HashSet<i64>,
    decided: Vec<Decided>,
    /// When it came, or became its lane's oldest.
    since: Instant,
    /// When the last of its calls began or ended.
    moved: Option<Instant>,
    /// It does not wait for any call.
    hurried: bool,
}

/// Records on their way into Postgres.
#[derive(Debug)]
pub(super) struct Storing {
    /// Of each lane those that go now.
    pub(super) lanes: Vec<Unstored>,
    /// Those that are inserted as held.
    pub(super) held: HashSet<i64>,
    /// Those that run.
    pub(super) running: HashSet<i64>,
    /// By lane, the reread counter that was acted on.
    pub(super) reread_to: HashMap<i32, i64>,
}

impl Storing {
    pub(super) fn lanes(&self) -> impl Iterator<Item = i32> {
        self.lanes.iter().map(Unstored::lane)
    }
}

impl Unstored {
    /// Records of which these are queued, and `away` is not.
    pub(super) fn new(fresh: Fresh, stored_first: bool, open: HashSet<i64>, away: Weight) -> Self {
        let since = Instant::now();
        Self { fresh, stored_first, away, open, decided: Vec::new(), since, moved: None, hurried: false }
    }

    pub(super) fn lane(&self) -> i32 {
        self.fresh.lease.lane
    }

    fn due(&self) -> Instant {
        if self.open.is_empty() || self.hurried {
            return self.since;
        }
        self.moved.map_or(self.since + TURN_MAX, |moved| (moved + WAIT).min(self.since + WAIT_MAX))
    }

    /// Whether it has this message.
    pub(super) fn has(&self, seq: i64) -> bool {
        self.fresh.rows.binary_search_by_key(&seq, |row| row.message.seq).is_ok()
    }

    fn first(&self) -> Option<i64> {
        self.fresh.rows.first().map(|row| row.message.seq)
    }

    /// Whether `next` can be stored as one with it.
    fn goes_on(&self, next: &Self) -> bool {
        self.stored_first == next.stored_first
            && self.fresh.direct == next.fresh.direct
            && self.fresh.lease.token == next.fresh.lease.token
            && self.fresh.advance.epoch == next.fresh.advance.epoch
            && self.fresh.advance.to == next.fresh.advance.from
    }

    fn append(&mut self, next: Self) {
        self.fresh.advance.to = next.fresh.advance.to;
        self.fresh.rows.extend(next.fresh.rows);
        self.away += next.away;
        self.open.extend(next.open);
        self.decided.extend(next.decided);
    }

    /// What was decided of it.
    pub(super) fn take_decided(&mut self) -> Vec<Decided> {
        std::mem::take(&mut self.decided)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct FreshBatches {
    /// Each lane's, the oldest first; none is empty.
    lanes: BTreeMap<i32, VecDeque<Unstored>>,
    /// Lanes of which some is being stored, the first `seq` of it, and whether it is stored first.
    in_store: HashMap<i32, (i64, bool)>,
    /// By lane, the first `seq` that has no row yet; the greatest one where only an offset is to move.
    firsts: HashMap<i32, i64>,
}

impl FreshBatches {
    pub(super) fn push(&mut self, unstored: Unstored) {
        let lane = unstored.lane();
        self.lanes.entry(lane).or_default().push_back(unstored);
        self.count(lane);
    }

    /// Whether the lane's last records are to be stored before they are handled, and are not stored yet. What
    /// comes behind them must be too, or it would be handled before them.
    pub(super) fn stores_first(&self, lane: i32) -> bool {
        match self.lanes.get(&lane).and_then(VecDeque::back) {
            Some(last) => last.stored_first,
            None => self.in_store.get(&lane).is_some_and(|(_, stored_first)| *stored_first),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// A message starts: where it has no row, its wait begins now.
    pub(super) fn starts(&mut self, lane: i32, seq: i64) {
        let mut of_lane = self.lanes.get_mut(&lane).into_iter().flatten();
        if let Some(unstored) = of_lane.find(|unstored| unstored.open.contains(&seq)) {
            let now = Instant::now();
            if unstored.moved.replace(now).is_none() {
                unstored.since = now;
            }
        }
    }

    /// A lane, or with `None` all, is to be given up: nothing of it waits for calls.
    pub(super) fn hurry(&mut self, lane: Option<i32>) {
        let lanes = self.lanes.iter_mut().filter(|(of, _)| lane.is_none_or(|lane| lane == **of));
        lanes.flat_map(|(_, of_lane)| of_lane).for_each(|unstored| unstored.hurried = true);
    }

    /// Takes note of a decision; gives it back where its message has its row.
    pub(super) fn decide(&mut self, decided: Decided) -> Option<Decided> {
        let seq = decided.settlement.message.seq;
        for unstored in self.lanes.get_mut(&decided.key.lane).into_iter().flatten() {
            if unstored.open.remove(&seq) {
                unstored.moved = Some(Instant::now());
                unstored.decided.push(decided);
                return None;
            }
        }
        Some(decided)
    }

    /// Takes back what was decided about messages of a key: they are undecided again.
    pub(super) fn undo(&mut self, key: Key) -> Vec<Decided> {
        let mut undone = Vec::new();
        for unstored in self.lanes.get_mut(&key.lane).into_iter().flatten() {
            let of_key: Vec<Decided> =
                unstored.decided.extract_if(.., |decided| decided.key == key).collect();
            unstored.open.extend(of_key.iter().map(|decided| decided.settlement.message.seq));
            undone.extend(of_key);
        }
        undone
    }

    /// What was not stored is its lane's oldest again, with what was decided of it meanwhile.
    pub(super) fn put_back(&mut self, mut unstored: Unstored, decided: Vec<Decided>) {
        let lane = unstored.lane();
        decided.iter().for_each(|decided| {
            unstored.open.remove(&decided.settlement.message.seq);
        });
        unstored.decided.extend(decided);
        self.lanes.entry(lane).or_default().push_front(unstored);
        self.count(lane);
    }

    /// Messages of a lane that have no row yet, by `seq`.
    pub(super) fn of_lane(&self, lane: i32) -> HashSet<i64> {
        let rows = self.lanes.get(&lane).into_iter().flatten().flat_map(|unstored| &unstored.fresh.rows);
        rows.map(|row| row.message.seq).collect()
    }

    /// Keys of a lane of which something was decided.
    pub(super) fn decided_keys(&self, lane: i32) -> HashSet<Key> {
        let decided = self.lanes.get(&lane).into_iter().flatten().flat_map(|unstored| &unstored.decided);
        decided.map(|decided| decided.key).collect()
    }

    /// Lanes that are not `busy`, and what waits of each.
    fn free(&self, busy: &HashSet<i32>) -> impl Iterator<Item = (&i32, &VecDeque<Unstored>)> {
        self.lanes.iter().filter(|(lane, _)| !busy.contains(lane))
    }

    /// When the next are to be stored of a lane that is not `busy`.
    pub(super) fn next_due(&self, busy: &HashSet<i32>) -> Option<Instant> {
        self.free(busy).filter_map(|(_, unstored)| unstored.front()).map(Unstored::due).min()
    }

    /// How many are to be stored now of lanes that are not `busy`; an offset alone counts too.
    pub(super) fn due(&self, now: Instant, busy: &HashSet<i32>) -> usize {
        let due = self.free(busy).flat_map(|(_, unstored)| unstored.iter().take_while(|of| of.due() <= now));
        due.map(|of| of.fresh.rows.len().max(1)).sum()
    }

    /// What is to be stored now of lanes that are not `busy`, a share of it, the oldest first.
    pub(super) fn take_due(&mut self, now: Instant, busy: &HashSet<i32>, share: Share) -> Vec<Unstored> {
        let mut free = Vec::new();
        for (lane, unstored) in self.free(busy) {
            let due = unstored.iter().take_while(|of| of.due() <= now);
            if let Some(rows) = due.map(|of| of.fresh.rows.len()).reduce(|rows, more| rows + more) {
                free.push((unstored.front().and_then(Unstored::first), *lane, rows));
            }
        }
        free.sort_unstable();
        let enough = share.enough(free.iter().map(|(.., rows)| rows).sum());
        let (mut taken, mut rows) = (Vec::new(), 0);
        for (_, lane, _) in free {
            if let Some(due) = self.take_of(lane, now, share.rows_max.saturating_sub(rows), taken.is_empty())
            {
                rows += due.fresh.rows.len();
                taken.push(due);
            }
            if rows >= enough {
                break;
            }
        }
        taken
    }

    /// What is due of a lane, at most `rows_max`; with `any`, one poll's records however many they are.
    fn take_of(&mut self, lane: i32, now: Instant, rows_max: usize, any: bool) -> Option<Unstored> {
        let of_lane = self.lanes.get_mut(&lane)?;
        let mut due = of_lane.pop_front_if(|first| any || first.fresh.rows.len() <= rows_max)?;
        while let Some(next) = of_lane.pop_front_if(|next| {
            next.due() <= now && due.goes_on(next) && due.fresh.rows.len() + next.fresh.rows.len() <= rows_max
        }) {
            due.append(next);
        }
        if let Some(next) = of_lane.front_mut() {
            // Its wait for its turn goes on, its wait for calls begins.
            if next.moved.is_some() {
                next.since = now;
            }
        } else {
            self.lanes.remove(&lane);
        }
        self.in_store.insert(lane, (due.first().unwrap_or(i64::MAX), due.stored_first));
        Some(due)
    }

    /// The lane is another's, or taken anew: drops what waits of it; gives how much was in no queue.
    pub(super) fn forget(&mut self, lane: i32) -> Weight {
        let dropped = self.lanes.remove(&lane);
        self.count(lane);
        dropped.into_iter().flatten().map(|unstored| unstored.away).sum()
    }

    /// What was taken of the lane is no longer on its way.
    pub(super) fn stored(&mut self, lane: i32) {
        self.in_store.remove(&lane);
        self.count(lane);
    }

    /// Lanes with records that have no row yet, and the first `seq` of each.
    pub(super) fn lanes(&self) -> &HashMap<i32, i64> {
        &self.firsts
    }

    /// Whether the message has its row.
    pub(super) fn has_row(&self, lane: i32, seq: i64) -> bool {
        self.firsts.get(&lane).is_none_or(|first| seq < *first)
    }

    fn count(&mut self, lane: i32) {
        let unstored = self.lanes.get(&lane).map(|of_lane| of_lane.iter().find_map(Unstored::first));
        let first = unstored.map(|first| first.unwrap_or(i64::MAX));
        match self.in_store.get(&lane).map(|(first, _)| *first).into_iter().chain(first).min() {
            Some(first) => self.firsts.insert(lane, first),
            None => self.firsts.remove(&lane),
        };
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::lane::{Lease, Moment, Session};
    use crate::settle::Advance;

    const SHARE: Share = Share { rows_max: 500, half: false };

    /// Records of a lane that only move its offset.
    fn polled(lease: &Lease, from: i64, to: i64, stored_first: bool) -> Unstored {
        let advance = Advance { topic: "t".into(), partition: 0, epoch: 1, from, to };
        let fresh = Fresh { lease: lease.clone(), direct: true, advance, rows: Vec::new() };
        Unstored::new(fresh, stored_first, HashSet::new(), Weight::default())
    }

    fn lease(lane: i32, token: i64) -> Lease {
        Lease::new(lane, token, 0, &Session::new(Uuid::nil(), Moment::now(), Duration::from_secs(30)))
    }

    fn taken(fresh: &mut FreshBatches, busy: &[i32]) -> Vec<(i32, i64)> {
        let due = fresh.take_due(Instant::now(), &busy.iter().copied().collect(), SHARE);
        due.iter().map(|unstored| (unstored.lane(), unstored.fresh.advance.to)).collect()
    }

    #[test]
    fn what_comes_behind_records_that_are_stored_first_is_stored_first_too() {
        let (mut fresh, careful) = (FreshBatches::default(), lease(1, 1));
        fresh.push(polled(&careful, 0, 5, true));
        assert!(fresh.stores_first(1) && !fresh.stores_first(2));
        assert_eq!(taken(&mut fresh, &[]), [(1, 5)]);
        assert!(fresh.stores_first(1), "they are still on their way");
        fresh.push(polled(&careful, 5, 6, true));
        fresh.stored(1);
        assert!(fresh.stores_first(1), "others came meanwhile");
        assert_eq!(taken(&mut fresh, &[]), [(1, 6)]);
        fresh.stored(1);
        assert!(!fresh.stores_first(1));
    }

    #[test]
    fn polls_of_a_lane_are_stored_as_one_and_no_lane_waits_for_another() {
        let (mut fresh, one, two) = (FreshBatches::default(), lease(1, 1), lease(2, 1));
        fresh.push(polled(&one, 0, 5, false));
        fresh.push(polled(&two, 0, 3, false));
        fresh.push(polled(&one, 5, 9, false));
        fresh.push(polled(&lease(1, 2), 9, 12, false));
        assert_eq!(taken(&mut fresh, &[1]), [(2, 3)]);
        assert_eq!(taken(&mut fresh, &[2]), [(1, 9)], "up to where the lane was taken anew");
        assert_eq!(taken(&mut fresh, &[]), [(1, 12)]);
        assert!(fresh.is_empty());
    }
}
