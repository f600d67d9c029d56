//! Commands of a handler's machine. Each command to Postgres, and each call, is answered by an event,
//! whatever comes of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::event::{Decision, DueCursor};
use super::version::Version;
use crate::ids::{CallId, LaneId, Lease, OrderBy, OrderKey, RereadCount, Seq, TopicPartition, WriteId};
use crate::message::Message;
use crate::verdict::decide::DeadReason;

/// The number of a read in its process: an answer to an older one is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ReadId(pub u64);

/// Something that is to be done.
#[derive(Debug, Clone, Hash)]
pub enum Command<S, E> {
    /// Open the lanes of these partitions, take those that are free, and ask their owners for the others.
    Take(Vec<TopicPartition>),
    /// Take lanes of the group that nobody has, up to this host's share and what others leave free.
    Adopt {
        /// The lanes of the handler that this host has.
        held: usize,
    },
    /// Take our own lanes anew, each under a higher token. It waits for whoever still writes for them.
    Retake(Vec<LaneId>),
    /// Give lanes back.
    Release(Vec<Lease>),
    /// Read what is known of the lane's keys, from behind this key.
    ReadStanding {
        /// The lane.
        lease: Lease,
        /// The last key that was read.
        after: Option<OrderKey>,
    },
    /// Read rows.
    Read(Read),
    /// Look for keys whose waiting rows are due or touched.
    ReadDue {
        /// The lane.
        lease: Lease,
        /// The number of this read.
        read: ReadId,
        /// Place to go on from; `None` from the start.
        after: Option<(DueCursor, Seq)>,
        /// True if all blocked keys are to be read too.
        with_blocked: bool,
    },
    /// Note that messages up to these places may be begun.
    Mark(Vec<(Lease, Seq)>),
    /// Settle, in one transaction.
    Write(Write<E>),
    /// Settle a message in its call's own transaction.
    SettleSql {
        /// The call whose transaction it is.
        call: CallId,
        /// The lane.
        lease: Lease,
        /// The message and how it ends.
        settled: Settled<E>,
    },
    /// Roll back a call's own transaction.
    DropSql(CallId),
    /// Call the handler.
    Call(Box<Call<S>>),
    /// Fetch these partitions from these offsets on.
    Assign(Vec<(TopicPartition, i64)>),
    /// Stop fetching these partitions.
    Unassign(Vec<TopicPartition>),
    /// Stop fetching these partitions for a while.
    Pause(Vec<TopicPartition>),
    /// Go on fetching these partitions.
    Resume(Vec<TopicPartition>),
    /// Find where these partitions go on, whose lanes are ours.
    FindPositions(Vec<(TopicPartition, Lease)>),
    /// Draw places in the order of the inbox, at least this many.
    DrawSeqs(usize),
    /// Tell all hosts that the breaker is open.
    OpenBreaker {
        /// The time until a probe.
        recovery: Duration,
        /// The last fault's words.
        error: Arc<str>,
    },
    /// Tell all hosts that the breaker is closed.
    CloseBreaker,
    /// Ask for the right to probe.
    ClaimProbe {
        /// The time until another may ask.
        recovery: Duration,
    },
    /// Something was emitted.
    WakeRelay,
    /// Write a line to the log.
    Say(Remark),
}

/// Rows to read of a lane.
#[derive(Debug, Clone, Hash)]
pub struct Read {
    /// The lane.
    pub lease: Lease,
    /// The number of this read.
    pub read: ReadId,
    /// The rows.
    pub what: ReadWhat,
    /// The most rows; of keys, of each.
    pub limit: usize,
    /// The most bytes in memory, but for those of the last row: what is left out is there all the same.
    pub bytes_max: usize,
}

/// Selection of rows to read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReadWhat {
    /// Rows of the lane that are not held, by place.
    Lane {
        /// The last place that was read.
        after: Seq,
    },
    /// Held rows of keys, by place within each.
    Keys {
        /// The keys, and the last place that was read of each.
        keys: Vec<(OrderBy, Seq)>,
        /// The last place to read.
        up_to: Option<Seq>,
    },
}

/// A settlement: all of it commits or nothing.
#[derive(Debug, Clone, Hash)]
pub struct Write<E> {
    /// Number by which the answer is matched.
    pub id: WriteId,
    /// Lanes of the settlement, ascending.
    pub lanes: Vec<LaneWrite<E>>,
}

/// Part of a settlement that concerns one lane.
#[derive(Debug, Clone, Hash)]
pub struct LaneWrite<E> {
    /// The lane.
    pub lease: Lease,
    /// Messages that have rows, by place.
    pub settled: Vec<Settled<E>>,
    /// Records that have none.
    pub insert: Option<Insert<E>>,
    /// Rows that are to be held from now on.
    pub spill: Vec<Spill>,
    /// The count of operators' acts that was looked for: records without rows go behind what was touched since.
    pub reread_seen: RereadCount,
}

impl<E> LaneWrite<E> {
    /// Messages that end, or wait for their next call, with it: first those that have rows.
    pub fn ended(&self) -> impl Iterator<Item = (&Arc<Message>, &How<E>)> {
        let with_rows = self.settled.iter().map(|settled| (&settled.message, &settled.how));
        let records = self.insert.iter().flat_map(|insert| &insert.rows);
        with_rows.chain(records.filter_map(NewRow::ended))
    }

    /// Gives the bytes that are written: records, and what calls left.
    pub(crate) fn bytes(&self) -> usize {
        let records = self.insert.iter().flat_map(|insert| &insert.rows);
        let records = records.map(|row| row.message.bytes()).sum::<usize>();
        self.ended().map(|(_, how)| how.bytes()).sum::<usize>() + records
    }
}

/// A message that has a row, and how it ends.
#[derive(Debug, Clone, Hash)]
pub struct Settled<E> {
    /// The message as it was called.
    pub message: Arc<Message>,
    /// True if its row lies among the held ones.
    pub was_held: bool,
    /// The end.
    pub how: How<E>,
}

/// End of a message, or of one of its deliveries.
#[derive(Debug, Clone, Hash)]
pub struct How<E> {
    /// Decision, and who made it.
    pub end: EndedBy<E>,
    /// The version that was called, or would have been.
    pub version: Arc<Version>,
    /// The message of its key whose uncommitted state it built on.
    pub based_on: Option<Seq>,
    /// True if its row is held from now on, and wakes at its time.
    pub held: bool,
}

/// Source of a decision: a call or the host.
#[derive(Debug, Clone, Hash)]
pub enum EndedBy<E> {
    /// The call, by what it decided.
    Call(Decision<E>),
    /// Nobody was called: it is dead, for these words.
    Host(DeadReason, Arc<str>),
}

/// Records that get their rows, and the offset that moves with them.
#[derive(Debug, Clone, Hash)]
pub struct Insert<E> {
    /// Partition of the records.
    pub partition: TopicPartition,
    /// The epoch of its offset row.
    pub epoch: i64,
    /// Offset at which the offset row stands.
    pub from: i64,
    /// Offset to which it moves.
    pub to: i64,
    /// The records, by place.
    pub rows: Vec<NewRow<E>>,
}

/// A record that gets its row.
#[derive(Debug, Clone, Hash)]
pub struct NewRow<E> {
    /// Message that the record carries.
    pub message: Arc<Message>,
    /// Reason why no handler can have it.
    pub unfit: Option<Arc<str>>,
    /// True if the database refused its content: it is stored without any.
    pub bare: bool,
    /// State in which the row is written.
    pub as_what: NewRowState<E>,
}

impl<E> NewRow<E> {
    /// The message and its end, where that is known already.
    pub fn ended(&self) -> Option<(&Arc<Message>, &How<E>)> {
        match &self.as_what {
            NewRowState::Ended(how) => Some((&self.message, how)),
            NewRowState::Pending | NewRowState::Running | NewRowState::Held => None,
        }
    }
}

/// State of a record at the time it gets its row.
#[derive(Debug, Clone, Hash)]
pub enum NewRowState<E> {
    /// Waiting for its turn.
    Pending,
    /// Being called.
    Running,
    /// Waiting behind its key, which is held.
    Held,
    /// Ended, or waiting for its next call.
    Ended(How<E>),
}

/// A row that is held from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spill {
    /// The row.
    pub seq: Seq,
    /// True if it wakes at its time; else it is read with its key.
    pub wakes: bool,
}

/// A call of the handler.
#[derive(Debug, Clone, Hash)]
pub struct Call<S> {
    /// Number by which the answer is matched.
    pub call: CallId,
    /// The lane.
    pub lease: Lease,
    /// Message to hand over.
    pub message: Arc<Message>,
    /// The version to call.
    pub version: Arc<Version>,
    /// The state as the message before it left it; `None` where it is to be read.
    pub state: Option<S>,
    /// Note that has to be written before the call.
    pub begin: Begin,
}

/// Note that a call needs before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Begin {
    /// Nothing.
    Free,
    /// Note that it is handed over, which happens once.
    Once,
    /// Note that it runs alone in its process.
    Alone,
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Remark {
    /// A lane is another host's.
    LaneLost(LaneId),
    /// A command's result is unknown: these lanes are taken anew.
    Doubt(BTreeSet<LaneId>),
    /// Something of a lane could go on and did not.
    Stalled {
        /// Lane that stands still.
        lane: LaneId,
        /// Name of the thing that was waited for.
        waits_for: &'static str,
        /// Length of the wait.
        since: Duration,
    },
    /// Calls have all places and do not end: they are given up.
    CallsGivenUp {
        /// Number of calls that stand.
        calls: usize,
        /// Time since one last ended.
        since: Duration,
    },
    /// The offset row of a partition is not where we left it.
    OffsetMoved(TopicPartition),
    /// The database refuses a record of this offset even without its content: the partition is stopped.
    RecordRefused {
        /// Partition that is stopped.
        partition: TopicPartition,
        /// The record.
        offset: i64,
    },
    /// Memory is full of these.
    MemoryFull,
    /// Calls left as much as may wait to be written: none begins before some of it is.
    EffectsFull,
    /// More keys wait than may be remembered: the partition is not read.
    TooManyWaitingKeys(TopicPartition),
    /// The inbox's sequence fell back: the places drawn before it are thrown away.
    SequenceFellBack {
        /// The highest place that was known.
        known: Seq,
        /// The place that was drawn.
        drawn: Seq,
    },
    /// Calls start no more until a probe: the breaker opened.
    BreakerOpened {
        /// The time until a probe.
        recovery: Duration,
        /// The last fault.
        error: Arc<str>,
    },
    /// Calls start again: the breaker closed.
    BreakerClosed,
    /// An operator paused the handler.
    Paused,
    /// Calls did not end within the grace.
    GraceOver(LaneId),
    /// An operator's acts on a lane were seen.
    Reread {
        /// Lane that is read again.
        lane: LaneId,
        /// Number of operators' acts on it so far.
        count: RereadCount,
    },
}
