//! Records that have no row yet, batch by batch in the order in which they were polled. A batch is stored once
//! all of it was decided, or when it has waited long enough: what is undecided then is stored as pending.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::entry::Key;
use super::in_hand::Weight;
use super::settling::Decided;
use crate::settle::Fresh;

/// So long a batch waits for the next of its calls to end. A slow handler's messages are stored as pending
/// then, and their neighbours are not kept waiting for them.
const WAIT: Duration = Duration::from_millis(10);
/// So long it waits in all.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// One batch.
#[derive(Debug)]
pub(super) struct Unstored {
    pub(super) fresh: Fresh,
    /// Nothing of it is handled before it is stored.
    pub(super) stored_first: bool,
    /// What of it is in no queue.
    pub(super) away: Weight,
    /// Its messages that are queued and undecided, by `seq`.
    open: HashSet<i64>,
    /// By `seq`.
    decided: HashMap<i64, Decided>,
    /// Those that are inserted as held.
    pub(super) held: HashSet<i64>,
    /// Those that run.
    pub(super) running: HashSet<i64>,
    /// By lane, the reread counter that was acted on.
    pub(super) reread_to: HashMap<i32, i64>,
    /// When it became the oldest, and when the last of its calls ended.
    since: Instant,
    moved: Instant,
}

impl Unstored {
    /// A batch of which these are queued, and `away` is not.
    pub(super) fn new(fresh: Fresh, stored_first: bool, open: HashSet<i64>, away: Weight) -> Self {
        Self {
            fresh,
            stored_first,
            away,
            open,
            decided: HashMap::new(),
            held: HashSet::new(),
            running: HashSet::new(),
            reread_to: HashMap::new(),
            since: Instant::now(),
            moved: Instant::now(),
        }
    }

    fn due(&self) -> Instant {
        if self.open.is_empty() { self.since } else { (self.moved + WAIT).min(self.since + WAIT_MAX) }
    }

    /// Whether it has this message.
    pub(super) fn has(&self, seq: i64) -> bool {
        self.fresh.rows.iter().any(|row| row.message.seq == seq)
    }

    /// What was decided of it.
    pub(super) fn take_decided(&mut self) -> Vec<Decided> {
        self.decided.drain().map(|(_, decided)| decided).collect()
    }
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub(super) struct FreshBatches {
    batches: VecDeque<Unstored>,
    /// Lanes of batches that are being stored, and the first `seq` of each.
    in_store: HashMap<i32, i64>,
    /// By lane, the first `seq` that has no row yet.
    firsts: HashMap<i32, i64>,
}

impl FreshBatches {
    pub(super) fn push(&mut self, batch: Unstored) {
        self.batches.push_back(batch);
        self.count();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Takes note of a decision; gives it back where its message has its row.
    pub(super) fn decide(&mut self, decided: Decided) -> Option<Decided> {
        let seq = decided.settlement.message.seq;
        for batch in &mut self.batches {
            if batch.open.remove(&seq) {
                batch.moved = Instant::now();
                batch.decided.insert(seq, decided);
                return None;
            }
        }
        Some(decided)
    }

    /// Takes back what was decided about messages of a key: they are undecided again.
    pub(super) fn undo(&mut self, key: Key) -> Vec<Decided> {
        let mut undone = Vec::new();
        for batch in &mut self.batches {
            let of_key = batch.decided.extract_if(|_, decided| decided.key == key);
            let of_key: Vec<Decided> = of_key.map(|(_, decided)| decided).collect();
            batch.open.extend(of_key.iter().map(|decided| decided.settlement.message.seq));
            undone.extend(of_key);
        }
        undone
    }

    /// A batch that was not stored is the oldest again, with what was decided of it.
    pub(super) fn put_back(&mut self, mut batch: Unstored, decided: impl IntoIterator<Item = Decided>) {
        for decided in decided {
            let seq = decided.settlement.message.seq;
            batch.open.remove(&seq);
            batch.decided.insert(seq, decided);
        }
        self.batches.push_front(batch);
        self.count();
    }

    /// Messages of a lane that have no row yet, by `seq`.
    pub(super) fn of_lane(&self, lane: i32) -> HashSet<i64> {
        let rows = self.batches.iter().flat_map(|batch| &batch.fresh.rows);
        rows.filter(|row| row.message.lane == lane).map(|row| row.message.seq).collect()
    }

    /// Keys of a lane of which something was decided.
    pub(super) fn decided_keys(&self, lane: i32) -> HashSet<Key> {
        let decided = self.batches.iter().flat_map(|batch| batch.decided.values());
        decided.map(|decided| decided.key).filter(|key| key.lane == lane).collect()
    }

    /// When the next batch is to be stored that waits for none that touches its lanes.
    pub(super) fn next_due(&self, busy: &HashSet<i32>) -> Option<Instant> {
        self.free(busy).map(|(_, batch)| batch.due()).min()
    }

    /// The oldest batch that is to be stored now and waits for none that touches its lanes, nor for a
    /// settlement of one of these.
    pub(super) fn take_due(&mut self, now: Instant, busy: &HashSet<i32>) -> Option<Unstored> {
        let place = self.free(busy).find(|(_, batch)| batch.due() <= now).map(|(place, _)| place)?;
        let due = self.batches.remove(place)?;
        self.in_store.extend(firsts(&due));
        // The next one's calls could hardly begin before this one's were done.
        if let Some(next) = self.batches.get_mut(place) {
            (next.since, next.moved) = (now, now);
        }
        Some(due)
    }

    /// A batch is no longer on its way.
    pub(super) fn stored(&mut self, batch: &Unstored) {
        for lease in &batch.fresh.leases {
            self.in_store.remove(&lease.lane);
        }
        self.count();
    }

    /// Batches of which no lane is busy or has an older one.
    fn free(&self, busy: &HashSet<i32>) -> impl Iterator<Item = (usize, &Unstored)> {
        let mut taken = busy.clone();
        self.batches.iter().enumerate().filter(move |(_, batch)| {
            let lanes = || batch.fresh.leases.iter().map(|lease| lease.lane);
            let free = lanes().all(|lane| !taken.contains(&lane));
            taken.extend(lanes());
            free
        })
    }

    /// Lanes with records that have no row yet, and the first `seq` of each.
    pub(super) fn lanes(&self) -> &HashMap<i32, i64> {
        &self.firsts
    }

    /// Whether the message has its row.
    pub(super) fn has_row(&self, lane: i32, seq: i64) -> bool {
        self.firsts.get(&lane).is_none_or(|first| seq < *first)
    }

    fn count(&mut self) {
        self.firsts = self.in_store.clone();
        for (lane, seq) in self.batches.iter().flat_map(firsts) {
            self.firsts.entry(lane).or_insert(seq);
        }
    }
}

/// The first `seq` of each lane.
fn firsts(batch: &Unstored) -> HashMap<i32, i64> {
    let mut firsts = HashMap::new();
    for row in &batch.fresh.rows {
        firsts.entry(row.message.lane).or_insert(row.message.seq);
    }
    for lease in &batch.fresh.leases {
        firsts.entry(lease.lane).or_insert(i64::MAX);
    }
    firsts
}
