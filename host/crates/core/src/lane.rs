//! A lane: everything that this host knows of one partition's messages, in one value.
//!
//! A message is in one place, with one stage. Along a key's queue stages only fall, so that settling out of order
//! cannot be written down. Rows that wait stay where they are in Postgres and cost memory their key only. Dropping the
//! value forgets the lane.
//!
//! Start reading at [`Lane`], then [`items`]; the parts below it are transitions: what a poll brought (`inserts`),
//! calls (`calling`), rows that were read (`reading`), settlements (`writing`, `written`), keys that wait (`waiting`).

mod calling;
mod check;
mod inserts;
mod items;
mod key_queue;
mod reading;
mod rows_read;
mod waiting;
mod writing;
mod written;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use calling::{CallValidity, Start};
pub(crate) use inserts::{InsertQueue, NumberedBatch, PolledBatch};
pub(crate) use items::{Items, Source, Weight};
pub(crate) use reading::ReadBounds;
pub(crate) use waiting::Spilled;
pub(crate) use writing::Share;

use crate::handler_machine::command::{How, ReadId, Spill};
use crate::handler_machine::event::{DueCursor, HandedState, TakenLane};
use crate::ids::{CallId, Lease, OrderBy, OrderKey, RereadCount, Seq, TopicPartition, WriteId};
use crate::time::Moment;
use crate::verdict::Blocking;
use items::Stage;
use key_queue::KeyQueue;

/// Phase of a lane's life with its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    /// The keys that do not simply go on are read; nothing starts.
    Opening {
        /// The last key that was read.
        after: Option<OrderKey>,
    },
    /// Everything.
    Working,
    /// Closing: running calls end and are settled, within the grace; nothing starts.
    Closing {
        /// The end of the grace.
        by: Moment,
    },
    /// Being given back.
    Releasing,
    /// Doubtful: something that was written is not known. Once nothing is under way it is taken anew and read
    /// again.
    Doubtful {
        /// Time at which it is asked for next.
        retry_at: Moment,
        /// Number of times that it was asked for.
        tries: u32,
        /// True if it is to be given back once it is ours again.
        closing: bool,
    },
}

/// Progress of reading the lane's rows that are not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scan {
    /// Rows up to here were read; nothing is fetched from Kafka before all were.
    Strict {
        /// The last place that was read.
        after: Seq,
    },
    /// Rows were all read. They are compared with memory once more, since somebody may have edited rows by
    /// hand.
    Lax {
        /// The last place that was compared.
        after: Seq,
    },
    /// Rows were all read, and compared.
    Done,
}

/// Commands under way for a lane: of each kind at most one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct InFlight {
    /// A settlement.
    pub(crate) write: Option<WriteId>,
    /// Reading of rows, of the lane or of keys.
    pub(crate) read: Option<ReadInFlight>,
    /// A note of what was begun.
    pub(crate) mark: bool,
    /// Settlements of calls' own transactions.
    pub(crate) sql: BTreeSet<CallId>,
    /// Taking it, reading its keys or giving it back.
    pub(crate) own: bool,
}

/// A read that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ReadInFlight {
    pub(crate) id: ReadId,
    /// No settlement may run beside it.
    pub(crate) exclusive: bool,
    /// The room in memory that is kept for it.
    pub(crate) reserved: Weight,
}

impl InFlight {
    /// Tells whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.write.is_none() && self.read.is_none() && !self.mark && self.sql.is_empty() && !self.own
    }
}

/// A key behind a dead message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Blocked {
    /// Effect on later messages of the key.
    pub(crate) how: Blocking,
    /// The dead message; `None` where it died before this host had the lane.
    pub(crate) by: Option<Seq>,
    /// True if its death is committed: one that is not is no letter that an operator could have closed.
    pub(crate) written: bool,
    /// An earlier death of the key is in the table: where this one comes to nothing, that one stands.
    pub(crate) another_stands: bool,
}

/// Schedule of the search for keys whose rows wait in Postgres.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct DueScan {
    /// The next look.
    pub(crate) next: Option<Moment>,
    /// Place from which it goes on.
    pub(crate) cursor: Option<(DueCursor, Seq)>,
    /// Count of operators' acts at the first page, where rows that they touched are looked for too.
    pub(crate) reread: Option<RereadCount>,
}

/// A settlement's share of this lane, while it is under way.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct UnderWay {
    pub(crate) settled: Vec<Seq>,
    pub(crate) batch: Option<PolledBatch>,
    pub(crate) spill: Vec<(Spill, OrderBy)>,
    /// Memory of the rows for which no message in memory stands.
    pub(crate) weight: Weight,
}

/// One lane of a handler's machine. Dropping it forgets all that is known of it.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Lane<S, E> {
    pub(crate) lease: Lease,
    pub(crate) partition: TopicPartition,
    pub(crate) phase: Phase,
    /// Every message of the lane in memory, once, but for records that are only to be stored.
    pub(crate) items: Items<E>,
    /// Keys with messages in memory.
    keys: BTreeMap<OrderBy, KeyQueue<S>>,
    /// Bytes of the state that calls left for the next of their keys.
    states: usize,
    /// Keys with held rows that are not in memory, and what wakes them.
    pub(crate) spilled: BTreeMap<OrderBy, Spilled>,
    /// Keys of `spilled` that are to be read now.
    pub(crate) to_read: BTreeSet<OrderBy>,
    pub(crate) blocked: BTreeMap<OrderKey, Blocked>,
    /// Keys whose first message may start, by its place: what was polled first is decided first.
    ready: BTreeSet<(Seq, OrderBy)>,
    /// Keys whose first message is not due yet.
    timers: BTreeSet<(Moment, OrderBy)>,
    /// Decided messages that have their rows.
    decided: BTreeSet<Seq>,
    /// Decided messages whose own transactions settle them.
    decided_sql: BTreeMap<Seq, CallId>,
    /// Messages that lost a race for state, and are not called again before the next settlement.
    losers: BTreeSet<Seq>,
    /// Messages whose own transactions are settling them.
    sql: BTreeMap<CallId, Seq>,
    /// Calls whose own transactions come to nothing.
    pub(crate) dropped_sql: Vec<CallId>,
    /// Records without rows, in the order of their offsets.
    pub(crate) inserts: InsertQueue,
    /// Rows to be marked as held by the next settlement, with whether they wake, and their keys.
    to_spill: BTreeMap<Seq, (bool, OrderBy)>,
    pub(crate) scan: Scan,
    pub(crate) due: DueScan,
    pub(crate) reread_seen: RereadCount,
    pub(crate) reread_wanted: RereadCount,
    /// Rows up to here are noted as begun.
    pub(crate) started_to: Seq,
    /// Number of them, about, that have not started yet.
    pub(crate) marked_ahead: usize,
    pub(crate) in_flight: InFlight,
    under_way: Option<UnderWay>,
    /// All calls under way, void ones too, by message: none is called beside itself.
    calls: BTreeMap<Seq, CallId>,
    /// The most messages that the next settlement takes, where the last one was refused.
    pub(crate) write_limit: Option<usize>,
    /// The last thing that had to be alone was a read: a settlement goes first.
    read_last: bool,
    /// The last owner died with it: for a while records are stored before they are called.
    pub(crate) abandoned: bool,
    /// The last time that something of it went on.
    pub(crate) progress_at: Moment,
    /// Time at which it was taken.
    pub(crate) taken_at: Moment,
    /// Doubts within the last minute, each of which halves the settlements.
    pub(crate) doubts: u32,
    pub(crate) doubted_at: Moment,
}

impl<S: Clone, E: Clone> Lane<S, E> {
    /// Opens a lane that was just taken.
    pub(crate) fn open(taken: TakenLane, now: Moment) -> Self {
        Self {
            lease: taken.lease,
            partition: taken.partition,
            phase: Phase::Opening { after: None },
            items: Items::default(),
            keys: BTreeMap::new(),
            states: 0,
            spilled: BTreeMap::new(),
            to_read: BTreeSet::new(),
            blocked: BTreeMap::new(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            decided: BTreeSet::new(),
            decided_sql: BTreeMap::new(),
            losers: BTreeSet::new(),
            sql: BTreeMap::new(),
            dropped_sql: Vec::new(),
            inserts: InsertQueue::default(),
            to_spill: BTreeMap::new(),
            scan: Scan::Strict { after: Seq(i64::MIN) },
            due: DueScan::default(),
            reread_seen: taken.rereads,
            reread_wanted: taken.rereads,
            started_to: Seq(i64::MIN),
            marked_ahead: 0,
            in_flight: InFlight::default(),
            under_way: None,
            calls: BTreeMap::new(),
            write_limit: None,
            read_last: false,
            abandoned: taken.abandoned,
            progress_at: now,
            taken_at: now,
            doubts: 0,
            doubted_at: now,
        }
    }

    /// Begins anew under another token. Calls that still run are remembered, everything else is read again.
    pub(crate) fn reopen(&mut self, taken: TakenLane, now: Moment) {
        let calls = std::mem::take(&mut self.calls);
        let dropped_sql = std::mem::take(&mut self.dropped_sql);
        let (doubts, doubted_at) = (self.doubts, self.doubted_at);
        let careful = self.abandoned || taken.abandoned || doubts > 1;
        *self = Self::open(taken, now);
        self.calls = calls;
        self.dropped_sql = dropped_sql;
        self.abandoned = careful;
        (self.doubts, self.doubted_at) = (doubts, doubted_at);
        self.write_limit = (doubts > 1).then(|| (1024 >> doubts.min(10)).max(1));
    }

    /// Drops what is in memory: nothing of it is believed any more.
    pub(crate) fn doubt(&mut self, now: Moment, closing: bool) {
        self.doubts =
            if now.since(self.doubted_at).as_secs() < 60 { self.doubts.saturating_add(1) } else { 1 };
        self.doubted_at = now;
        self.items = Items::default();
        self.keys.clear();
        self.states = 0;
        self.spilled.clear();
        self.to_read.clear();
        self.blocked.clear();
        self.ready.clear();
        self.timers.clear();
        self.decided.clear();
        self.drop_undecided_sql();
        self.losers.clear();
        self.sql.clear();
        self.inserts = InsertQueue::default();
        self.to_spill.clear();
        self.under_way = None;
        self.due = DueScan::default();
        self.scan = Scan::Strict { after: Seq(i64::MIN) };
        self.phase = Phase::Doubtful { retry_at: now, tries: 0, closing };
    }

    /// Says whether what operators touched is still to be found: it goes before records that have no row yet.
    pub(crate) fn rereads(&self) -> bool {
        self.reread_wanted > self.reread_seen
    }

    /// Has the transactions rolled back that were to settle messages.
    pub(crate) fn drop_undecided_sql(&mut self) {
        self.dropped_sql.extend(std::mem::take(&mut self.decided_sql).into_values());
    }

    /// Tells whether records of its partition may be taken: everything that lies before them was read.
    pub(crate) fn takes_records(&self) -> bool {
        self.phase == Phase::Working && !matches!(self.scan, Scan::Strict { .. })
    }

    /// Returns the memory of its messages that came from `source`.
    pub(crate) fn weight(&self, source: Source) -> Weight {
        let queued = if source == Source::Polled { self.inserts.weight() } else { Weight::default() };
        let under_way = self.under_way.as_ref().filter(|_| source == Source::Polled);
        let under_way = under_way.map_or(Weight::default(), |of| of.weight);
        self.items.weight(source) + queued + under_way
    }

    /// Gives the bytes of what calls left: effects that are not written, and state for the next calls.
    pub(crate) fn effects(&self) -> usize {
        self.items.effects() + self.states
    }

    /// Hands a key's state to its next call, or to nobody.
    fn set_state(&mut self, order: OrderBy, state: Option<HandedState<S>>) -> Option<S> {
        let queue = self.keys.get_mut(&order)?;
        let before = queue.state_bytes();
        let taken = std::mem::replace(&mut queue.state, state);
        self.states = (self.states + queue.state_bytes()).saturating_sub(before);
        taken.map(|taken| taken.state)
    }

    /// Drops the state of keys of which nothing is decided or runs: their next calls read it.
    pub(crate) fn forget_states(&mut self) {
        if self.states == 0 {
            return;
        }
        for queue in self.keys.values_mut().filter(|queue| queue.is_unbegun()) {
            self.states = self.states.saturating_sub(queue.state_bytes());
            queue.state = None;
        }
    }

    /// Gives how many keys it remembers that wait in Postgres, about.
    pub(crate) fn waiting_keys(&self) -> usize {
        self.spilled.len().max(self.blocked.len())
    }

    /// Gives how calls ended that may be made once and are not settled.
    pub(crate) fn ends_known_here(&self) -> impl Iterator<Item = (Seq, &How<E>)> {
        self.items.iter().filter_map(|(seq, item)| match &item.stage {
            Stage::Decided(how) | Stage::Writing(how) => {
                let known = how.version.once && how.decision().is_some() && !how.has_sql();
                known.then_some((*seq, how))
            }
            Stage::Waiting { .. } | Stage::Running { .. } => None,
        })
    }

    /// Tells whether nothing of it is in memory or under way but void calls.
    pub(crate) fn is_idle(&self) -> bool {
        self.items.is_empty()
            && self.inserts.is_empty()
            && self.in_flight.is_empty()
            && self.to_spill.is_empty()
    }

    /// The earliest time at which it has something to do by itself.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        match self.phase {
            Phase::Working => {
                let timer = self.timers.first().map(|(due, _)| *due);
                timer.into_iter().chain(self.due.next).min()
            }
            Phase::Closing { by } => Some(by),
            Phase::Doubtful { retry_at, .. } => Some(retry_at),
            Phase::Opening { .. } | Phase::Releasing => None,
        }
    }
}
