//! The messages in memory, by key. Pure bookkeeping: who may start next.

mod standing;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use tokio::time::Instant;

use super::entry::{Entry, Key, Order};
use super::in_hand::Weight;
use crate::inbox::Standing;
use crate::settle::StateView;

/// The messages of one key.
#[derive(Debug, Default)]
struct Queue {
    /// In order of `seq`.
    waiting: VecDeque<Entry>,
    /// The call under way, and its message's `seq`.
    running: Option<(u64, i64)>,
    /// Messages whose verdict is not settled.
    unsettled: usize,
    /// One of them is a retry, or wrote by SQL: those behind it wait.
    awaits_settling: bool,
    /// The state as the last message of the key left it, committed or not.
    state: Option<StateView>,
    /// Rows of the key lie held in Postgres: what comes joins them, so that the order stays.
    held: bool,
    /// An earlier message of the key is dead, and the handler wants it to be looked at first.
    blocked: Option<Blocked>,
    /// Calls before this one are void: what they read was overtaken.
    valid_from: u64,
}

/// Why a key does not simply go on.
#[derive(Debug, Clone, Copy)]
struct Blocked {
    /// Its messages are parked rather than waiting.
    parks: bool,
    /// Since when the death is known to be committed; `None` while it is only decided.
    written: Option<Instant>,
}

impl Queue {
    /// Whether its messages wait for the dead letter.
    fn is_blocked(&self) -> bool {
        self.blocked.is_some_and(|blocked| !blocked.parks)
    }

    /// Whether its next message has to wait for a settlement. State is read only where nothing of the key waits to
    /// be written: else the message would see a past that those before it have changed.
    fn awaits_settling(&self) -> bool {
        self.awaits_settling || (self.state.is_none() && self.unsettled > 0)
    }

    /// Whether its first message waits for something other than its turn.
    fn waits(&self) -> bool {
        let not_due = self.waiting.front().is_some_and(|first| first.due > Instant::now());
        self.awaits_settling || self.is_blocked() || not_due
    }
}

/// Followers of a waiting key that stay in memory; later ones are held in Postgres.
const FOLLOWERS_MAX: usize = 100;
/// Held messages are let go when no more than this many of their key are left in memory.
const FOLLOWERS_MIN: usize = 10;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: HashMap<Key, Queue>,
    /// Keys whose first message may start, by its `seq`: what was polled first is decided first, and with it
    /// all of its batch.
    ready: BTreeSet<(i64, Key)>,
    /// Keys whose first message is not due yet.
    timers: BTreeSet<(Instant, Key)>,
    /// The seqs in memory, by lane: a row that is read twice is known by them.
    in_hand: HashMap<i32, BTreeMap<i64, Weight>>,
    /// Lanes that are being given up: nothing of them starts.
    closing: HashSet<i32>,
    /// Lanes of which nothing starts before they were read again, as their counter said it.
    paused: HashMap<i32, i64>,
    /// By lane, the counter up to which it was, or is being, read again.
    reread_to: HashMap<i32, i64>,
    next_call: u64,
    /// Messages that are to be marked as held, by lane.
    to_hold: HashMap<i32, Vec<(Key, i64)>>,
    /// Keys with held rows, and up to which `seq` there are none.
    held: HashMap<Key, i64>,
    /// How far each lane was read: whatever is not held up to there is, or was, in memory.
    read_to: HashMap<i32, i64>,
    /// Messages that left the memory since that was last asked.
    shed: Weight,
}

/// What a call's end is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// It counts.
    Valid,
    /// The message is to be called again.
    Void,
    /// Its lane is no longer ours.
    Gone,
}

/// A message that starts.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) key: Key,
    pub(super) entry: Entry,
    pub(super) state: Option<StateView>,
    pub(super) call: u64,
    /// It is not to be called but set aside behind a dead message of its key.
    pub(super) parked: bool,
}

/// What may start next.
#[derive(Debug)]
pub(super) enum Next {
    Started(Box<Started>),
    /// It is to be noted first that the next messages are begun.
    Unnoted,
    Nothing,
}

impl Queues {
    /// A lane is ours, with the keys that do not simply go on.
    pub(super) fn open(&mut self, lane: i32, standing: &Standing, counter: i64) {
        self.reread_to.insert(lane, counter);
        self.in_hand.entry(lane).or_default();
        self.closing.remove(&lane);
        self.read_to.insert(lane, 0);
        for okey in &standing.held {
            let key = Key { lane, order: Order::Key(*okey) };
            self.queues.entry(key).or_default().held = true;
            self.held.insert(key, 0);
        }
        for (okey, parks) in &standing.blocked {
            self.block(Key { lane, order: Order::Key(*okey) }, *parks, true);
        }
    }

    /// A message came; `false` where it does not stay in memory: it is here already, its lane is not open,
    /// or it is to be held.
    pub(super) fn push(&mut self, entry: Entry, ordered: bool) -> bool {
        let (lane, seq) = (entry.message.lane, entry.message.seq);
        let open = !self.closing.contains(&lane);
        let Some(known) = self.in_hand.get_mut(&lane).filter(|_| open) else { return false };
        if let Some(read_to) = self.read_to.get_mut(&lane) {
            *read_to = (*read_to).max(seq);
        }
        if known.contains_key(&seq) {
            return false;
        }
        let key = entry.key(ordered);
        let queue = self.queues.entry(key).or_default();
        if queue.held || (queue.waiting.len() >= FOLLOWERS_MAX && queue.waits()) {
            queue.held = true;
            self.held.entry(key).or_insert(0);
            self.to_hold.entry(lane).or_default().push((key, seq));
            return false;
        }
        known.insert(seq, Weight::of(&entry.message));
        self.requeue(key, entry);
        true
    }

    /// Drops a key of which nothing is left to know.
    fn tidy(&mut self, key: Key) {
        if let Some(queue) = self.queues.get(&key)
            && queue.unsettled == 0
            && queue.waiting.is_empty()
            && queue.running.is_none()
            && !queue.held
            && queue.blocked.is_none()
        {
            self.queues.remove(&key);
        }
    }

    /// A message that was in memory all along waits again.
    pub(super) fn requeue(&mut self, key: Key, entry: Entry) {
        let seq = entry.message.seq;
        if !self.in_hand.get(&key.lane).is_some_and(|known| known.contains_key(&seq)) {
            return;
        }
        let queue = self.queues.entry(key).or_default();
        let place = queue.waiting.partition_point(|before| before.message.seq < seq);
        if queue.waiting.get(place).is_none_or(|at| at.message.seq != seq) {
            queue.waiting.insert(place, entry);
        }
        self.arm(key);
        self.shed(key);
    }

    /// Puts a key where its first message belongs: ready, or on the clock.
    fn arm(&mut self, key: Key) {
        let Some(queue) = self.queues.get(&key) else { return };
        if queue.running.is_some() || queue.awaits_settling() || queue.is_blocked() {
            return;
        }
        let Some(first) = queue.waiting.front() else { return };
        if first.due <= Instant::now() {
            self.ready.insert((first.message.seq, key));
        } else {
            self.timers.insert((first.due, key));
        }
    }

    /// When the next key is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Moves keys that are due.
    pub(super) fn tick(&mut self, now: Instant) {
        while let Some((due, _)) = self.timers.first()
            && *due <= now
        {
            if let Some((_, key)) = self.timers.pop_first() {
                self.arm(key);
            }
        }
    }

    /// Whether a message waits only for being started.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next message that may start, if it is `noted` as begun.
    pub(super) fn start(&mut self, noted: impl Fn(i32, i64) -> bool) -> Next {
        while let Some((at, key)) = self.ready.pop_first() {
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            let due = queue.waiting.front().is_some_and(|first| first.due <= Instant::now());
            // What was read is read anew now and then, however busy the key is.
            queue.state.take_if(|state| state.is_old());
            // A key may stand here twice, or have been overtaken by what happened since.
            let parks = queue.blocked.map(|blocked| blocked.parks);
            let blocked = queue.running.is_some() || queue.awaits_settling() || queue.is_blocked();
            let waits = self.closing.contains(&key.lane) || self.paused.contains_key(&key.lane);
            if blocked || !due || waits {
                continue;
            }
            if !queue.waiting.front().is_some_and(|first| noted(key.lane, first.message.seq)) {
                self.ready.insert((at, key));
                return Next::Unnoted;
            }
            let Some(entry) = queue.waiting.pop_front() else { continue };
            let call = self.next_call;
            self.next_call += 1;
            queue.running = Some((call, entry.message.seq));
            let state = queue.state.take();
            return Next::Started(Box::new(Started { key, entry, state, call, parked: parks == Some(true) }));
        }
        Next::Nothing
    }

    /// A call ended.
    pub(super) fn ended(&mut self, key: Key, call: u64) -> Worth {
        match self.queues.get_mut(&key) {
            Some(queue) if queue.running.is_some_and(|(running, _)| running == call) => {
                queue.running = None;
                if call >= queue.valid_from { Worth::Valid } else { Worth::Void }
            }
            _ => Worth::Gone,
        }
    }

    /// A message was decided: those behind it may start, or with `waits` only once it is settled.
    pub(super) fn decided(&mut self, key: Key, state: StateView, waits: bool) {
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.unsettled += 1;
            queue.awaits_settling |= waits;
            queue.state = Some(state);
        }
        self.arm(key);
    }

    /// A message's settlement ended; with `done` it is out of our hands. Gives what left the memory.
    pub(super) fn settled(&mut self, key: Key, seq: i64, done: bool) -> Weight {
        let left = if done { self.drop_known(key.lane, seq) } else { Weight::default() };
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.unsettled = queue.unsettled.saturating_sub(1);
            queue.awaits_settling &= done && queue.unsettled > 0;
            if queue.unsettled == 0 {
                self.arm(key);
            }
        }
        self.tidy(key);
        left
    }

    fn drop_known(&mut self, lane: i32, seq: i64) -> Weight {
        self.in_hand.get_mut(&lane).and_then(|known| known.remove(&seq)).unwrap_or_default()
    }

    /// A message that is not to be handled after all, since the group had it already. A call of it is void.
    pub(super) fn drop_message(&mut self, key: Key, seq: i64) -> Weight {
        let left = self.drop_known(key.lane, seq);
        self.void(key);
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.waiting.retain(|entry| entry.message.seq != seq);
        }
        self.arm(key);
        self.tidy(key);
        left
    }

    /// The state as a call that decided nothing left it.
    pub(super) fn keep(&mut self, key: Key, state: StateView) {
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.state = Some(state);
        }
    }

    /// What this key's messages read was overtaken: a call under way is void, state is read anew.
    pub(super) fn void(&mut self, key: Key) {
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.valid_from = self.next_call;
            queue.state = None;
            queue.awaits_settling = false;
            // A death that is not committed is undecided again, or is told once more when it is.
            queue.blocked.take_if(|blocked| blocked.written.is_none());
        }
    }

    /// Whether the lane is one of ours.
    pub(super) fn has(&self, lane: i32) -> bool {
        self.in_hand.contains_key(&lane)
    }

    /// Whether any lane is being given up.
    pub(super) fn is_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Stops starting messages of a lane, and lets go of those that wait; gives what left the memory.
    pub(super) fn close(&mut self, lane: i32) -> Weight {
        self.closing.insert(lane);
        let mut dropped = Weight::default();
        for (_, queue) in self.queues.iter_mut().filter(|(key, _)| key.lane == lane) {
            for entry in queue.waiting.drain(..) {
                let known = self.in_hand.get_mut(&lane).and_then(|known| known.remove(&entry.message.seq));
                dropped += known.unwrap_or_default();
            }
        }
        dropped
    }

    /// Lanes that were closed and have nothing under way any more, and what left the memory. Those in
    /// `unstored` have records that are to be stored first.
    pub(super) fn closed(&mut self, unstored: &HashMap<i32, i64>) -> (Vec<i32>, Weight) {
        if self.closing.is_empty() {
            return (Vec::new(), Weight::default());
        }
        let busy: HashSet<i32> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.running.is_some() || queue.unsettled > 0)
            .map(|(key, _)| key.lane)
            .collect();
        let idle = |lane: &i32| !busy.contains(lane) && !unstored.contains_key(lane);
        let closed: Vec<i32> = self.closing.iter().copied().filter(idle).collect();
        let dropped = closed.iter().map(|lane| self.forget(*lane)).sum();
        (closed, dropped)
    }

    /// Drops everything of a lane; gives what was in memory.
    pub(super) fn forget(&mut self, lane: i32) -> Weight {
        self.closing.remove(&lane);
        self.paused.remove(&lane);
        self.reread_to.remove(&lane);
        self.queues.retain(|key, _| key.lane != lane);
        self.held.retain(|key, _| key.lane != lane);
        self.to_hold.remove(&lane);
        self.read_to.remove(&lane);
        self.timers.retain(|(_, key)| key.lane != lane);
        self.ready.retain(|(_, key)| key.lane != lane);
        self.in_hand.remove(&lane).map_or_else(Weight::default, |known| known.into_values().sum())
    }
}
