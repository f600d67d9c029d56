//! Events of a handler's machine: Kafka's doings, ends of calls, and answers to its commands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::command::ReadId;
use super::version::Version;
use crate::ids::{
    CallId, LaneId, LaneToken, Lease, OrderBy, OrderKey, RereadCount, Seq, TopicPartition, WriteId,
};
use crate::message::Message;
use crate::time::Moment;
use crate::verdict::Blocking;
use crate::verdict::breaker::Sign;
use crate::verdict::decide::DeadReason;

/// Answer to a command that Postgres was asked for. Whoever executes commands never guesses: a reply that did
/// not come is [`Outcome::Unknown`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome<T> {
    /// The command took effect.
    Done(T),
    /// The command surely has no effect: it was not sent, or failed before its commit was sent.
    NotDone(Failure),
    /// The command may have its effect, now or later: its commit was sent and not answered.
    Unknown,
}

/// Reason why a command has no effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Postgres is away, busy or refuses everything: the same again, after a while.
    Away,
    /// A limit on the statement's time struck: less at once.
    TooMuch,
}

/// Something that happened. `S` is the state of a key as calls hand it on, `E` is what a call wants to have written.
#[derive(Debug, Clone, Hash)]
pub enum Event<S, E> {
    /// Kafka gave these partitions to this host.
    Assigned(Vec<TopicPartition>),
    /// Kafka took these partitions away, or the consumer was given up.
    Revoked(Vec<TopicPartition>),
    /// Records of one poll, in the order of each partition's log.
    Polled(Vec<Polled>),
    /// Records fetched of these partitions mean nothing any more: the position is to be found again.
    Displaced(Vec<TopicPartition>),
    /// Places in the order of the inbox were drawn, ascending.
    SeqsDrawn(Outcome<Vec<Seq>>),
    /// Lanes were taken, or could not be: of assigned partitions, or ones that nobody had.
    Taken {
        /// Partitions that were asked for; empty where any free lane was.
        asked: Vec<TopicPartition>,
        /// Lanes that are ours now.
        outcome: Outcome<Vec<TakenLane>>,
    },
    /// Lanes in doubt were taken anew; those that are left out are still being written to, or lost.
    Retaken {
        /// The lanes that were asked for.
        asked: Vec<LaneId>,
        /// Lanes of these that are ours under a new token.
        outcome: Outcome<Vec<TakenLane>>,
    },
    /// A page of what is known of a lane's keys.
    Standing {
        /// The lane that was asked about.
        lease: Lease,
        /// The page.
        outcome: Outcome<StandingPage>,
    },
    /// Rows were read.
    Read {
        /// The lane that was asked about.
        lease: Lease,
        /// The read that this answers.
        read: ReadId,
        /// The rows.
        outcome: Outcome<RowsRead>,
    },
    /// Keys were looked for that wait no longer.
    DueKeys {
        /// The lane that was asked about.
        lease: Lease,
        /// The read that this answers.
        read: ReadId,
        /// The keys.
        outcome: Outcome<DueKeys>,
    },
    /// Messages up to a place were noted as possibly begun; lanes of other tokens are left out.
    Marked {
        /// The lanes that were asked for.
        asked: Vec<Lease>,
        /// Place up to which each is noted now.
        outcome: Outcome<BTreeMap<LaneId, Seq>>,
    },
    /// A settlement ended.
    Written {
        /// The settlement.
        write: WriteId,
        /// Result of the settlement.
        outcome: WriteOutcome<E>,
    },
    /// The settlement of one call's own transaction ended.
    SqlSettled {
        /// Call whose transaction it was.
        call: CallId,
        /// Result of the settlement.
        outcome: SqlOutcome<E>,
    },
    /// Lanes were given back, or whatever became of that.
    Released(Vec<LaneId>),
    /// Results of calls that have ended.
    CallsEnded(Vec<CallEnd<S, E>>),
    /// Positions of partitions were looked for.
    Positioned(Vec<(TopicPartition, LaneToken, FoundPosition)>),
    /// A look at the tables: this session's lanes, breakers, pauses.
    Looked(Arc<Look>),
    /// Something was written about the breaker, or a probe was asked for.
    BreakerTold(Outcome<BreakerReply>),
    /// Another version runs from now on, with the same group and subscriptions.
    VersionChanged(Arc<Version>),
    /// The session outlasts this moment.
    SessionRenewed(Moment),
    /// Everything is to be given back, within the time.
    Stop {
        /// The end of the grace.
        by: Moment,
    },
    /// Time has passed.
    Tick,
}

/// Records that one poll brought of one partition.
#[derive(Debug, Clone, Hash)]
pub struct Polled {
    /// Partition that was polled.
    pub partition: TopicPartition,
    /// The offset behind the last record.
    pub to: i64,
    /// The records that a subscription takes, without places yet.
    pub records: Vec<PolledRecord>,
}

/// A record that a subscription takes.
#[derive(Debug, Clone, Hash)]
pub struct PolledRecord {
    /// The message; its `seq` and `lane` are not given yet.
    pub message: Message,
    /// Reason why no handler can have it.
    pub unfit: Option<Arc<str>>,
}

/// A lane that is ours from now on.
#[derive(Debug, Clone, Hash)]
pub struct TakenLane {
    /// The right to it.
    pub lease: Lease,
    /// The partition whose messages lie in it.
    pub partition: TopicPartition,
    /// The count of operators' acts so far.
    pub rereads: RereadCount,
    /// True if its last owner died with it.
    pub abandoned: bool,
    /// The highest place that the inbox has given out: what is drawn for this lane lies above.
    pub last_seq: Seq,
}

/// Blocked and held keys of a lane, a page of them.
#[derive(Debug, Clone, Default, Hash)]
pub struct StandingPage {
    /// Keys behind a dead letter. Comes whole with the first page.
    pub blocked: Vec<(OrderKey, Blocking)>,
    /// Keys with held rows, ascending, and whether their first held row wakes by itself at its time.
    pub held: Vec<(OrderKey, bool)>,
    /// True if there may be more.
    pub more: bool,
}

/// A pending row.
#[derive(Debug, Clone, Hash)]
pub struct InboxRow {
    /// Message that the row holds.
    pub message: Arc<Message>,
    /// The time until it is due; zero where it is.
    pub due_in: Duration,
    /// True if it lies among the held rows.
    pub held: bool,
    /// True if it is found by its time.
    pub wakes: bool,
    /// Reason why no handler can have it.
    pub unfit: Option<Arc<str>>,
    /// True if a subscription takes it.
    pub claimed: bool,
}

/// Rows that were read, by place within each key or the lane.
#[derive(Debug, Clone, Default, Hash)]
pub struct RowsRead {
    /// Pending rows, with what is due and held of them.
    pub rows: Vec<InboxRow>,
    /// Keys of which there may be more; a message without a key is named where it was left out. Empty where all was read.
    pub more: BTreeSet<OrderBy>,
    /// True if a scan of the lane may find more rows.
    pub more_of_lane: bool,
}

/// Keys whose waiting rows are due or were touched by an operator.
#[derive(Debug, Clone, Default, Hash)]
pub struct DueKeys {
    /// Keys and the places of those rows, by time.
    pub due: Vec<(OrderBy, Seq)>,
    /// The last row's time, to go on from there; `None` where all were read.
    pub more_after: Option<(DueCursor, Seq)>,
    /// The time until the next row wakes, where all were read and some wait.
    pub next_in: Option<Duration>,
    /// All keys behind a dead letter, where that was asked for.
    pub blocked: Option<Vec<(OrderKey, Blocking)>>,
    /// The count of operators' acts as this read saw it.
    pub rereads: RereadCount,
}

/// A time of the database's clock in microseconds, to go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DueCursor(pub i64);

/// Result of a settlement.
#[derive(Debug, Clone, Hash)]
pub enum WriteOutcome<E> {
    /// The settlement is committed.
    Done(Written),
    /// These lanes are another's; nothing was written.
    LanesLost(BTreeSet<LaneId>),
    /// Messages whose reads, or whose base, are no longer so; nothing was written.
    StateLost(BTreeSet<(LaneId, Seq)>),
    /// Operators touched rows of these lanes, whose counts are given: that goes before records that have no row yet.
    /// Nothing was written.
    Touched(BTreeMap<LaneId, RereadCount>),
    /// The offset rows of these lanes are not where we left them; nothing was written.
    OffsetMoved(BTreeSet<LaneId>),
    /// The database refuses something of it as bad data; nothing was written. Where it was about one message with
    /// effects alone, this is how that message ends instead.
    BadData(Option<Decision<E>>),
    /// The settlement has no effect.
    NotDone(Failure),
    /// The settlement may have been committed, or may yet be.
    Unknown,
}

/// Findings of a committed settlement.
#[derive(Debug, Clone, Default, Hash)]
pub struct Written {
    /// Rows that were no longer as we left them: nothing was written for these.
    pub missed: BTreeSet<(LaneId, Seq)>,
    /// New messages that the group had already: nothing was written for these.
    pub duplicates: BTreeSet<(LaneId, Seq)>,
    /// The counts of operators' acts on the lanes.
    pub rereads: BTreeMap<LaneId, RereadCount>,
    /// True if something was emitted.
    pub emitted: bool,
}

/// Result of the settlement of a call's own transaction.
#[derive(Debug, Clone, Hash)]
pub enum SqlOutcome<E> {
    /// The transaction is committed.
    Done {
        /// The count of operators' acts on the lane.
        rereads: RereadCount,
        /// True if something was emitted.
        emitted: bool,
    },
    /// The lane is another's.
    LaneLost,
    /// The row was no longer as we left it.
    Missed,
    /// The message is to be called again: something that it read is no longer so, or the transaction was
    /// lost.
    Again,
    /// The handler's own statements cannot be committed: this is how the message ends instead.
    Instead(Decision<E>),
    /// The transaction may have been committed, or may yet be.
    Unknown,
}

/// A call that ended.
#[derive(Debug, Clone, Hash)]
pub struct CallEnd<S, E> {
    /// Number that the command gave it.
    pub call: CallId,
    /// Decision or failure with which the call ended.
    pub end: EndOfCall<S, E>,
    /// Evidence about the handler, with the fault's words.
    pub sign: (Sign, Arc<str>),
}

/// End of a call, as the machine distinguishes it.
#[derive(Debug, Clone, Hash)]
pub enum EndOfCall<S, E> {
    /// The handler decided about its message.
    Decided {
        /// Decision, with its effects.
        decision: Decision<E>,
        /// The state as it left it.
        state: HandedState<S>,
    },
    /// No decision was made: the handler was never called, or the host lacked something. The message is as
    /// before.
    Again {
        /// The time to wait.
        delay: Duration,
        /// True if the handler was surely not called.
        never_called: bool,
    },
    /// No decision was made: the row is no longer as the message has it, so nobody was called.
    RowChanged,
}

/// The state of a key as a call left it, for the next of its messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HandedState<S> {
    /// State for the next call of the key.
    pub state: S,
    /// The bytes that it takes in memory.
    pub bytes: usize,
}

/// End of a message, or of one attempt at it, with its effects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decision<E> {
    /// Fate of the message.
    pub ending: Ending,
    /// True if it wrote state, which those behind it in its key read.
    pub wrote_state: bool,
    /// True if its own SQL transaction is open and has to settle it.
    pub has_sql: bool,
    /// The bytes that its effects take in memory until they are written.
    pub bytes: usize,
    /// Effects that are written with it.
    pub effects: Arc<E>,
}

/// Fate of a message after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// The message is done.
    Done,
    /// The message is dead.
    Dead(DeadReason),
    /// The message is called again, not before the delay has passed.
    Waits {
        /// The time from its settlement on.
        delay: Duration,
        /// True if it costs an attempt.
        counted: bool,
    },
}

/// Position at which a partition goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FoundPosition {
    /// The partition goes on here, under this epoch of its offset row.
    At {
        /// The next offset.
        next: i64,
        /// Epoch of the offset row.
        epoch: i64,
    },
    /// The partition does not go on before an operator acts.
    Stopped,
    /// The position is not known yet: it is asked for again after a while.
    Unknown,
}

/// Content of the tables at one look.
#[derive(Debug, Clone, Default, Hash)]
pub struct Look {
    /// Time at which the look began.
    pub began_at: Moment,
    /// The lanes of this session.
    pub lanes: BTreeMap<LaneId, OwnedLane>,
    /// True if the handler is paused.
    pub paused: bool,
    /// Time from which a probe may be claimed, where the breaker is open.
    pub open_until: Option<Moment>,
}

/// A lane as the table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnedLane {
    /// Token under which this host has it.
    pub token: LaneToken,
    /// The count of operators' acts.
    pub rereads: RereadCount,
    /// True if the host to which Kafka gave the partition waits for it.
    pub wanted: bool,
}

/// Answer to a change of the breaker that other hosts were to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerReply {
    /// The change is written.
    Written,
    /// True if the probe is ours.
    Probe(bool),
}
