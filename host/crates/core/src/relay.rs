//! Relay of outbox rows to Kafka records: read in order, published through idempotent producers, marked once
//! acknowledged.
//!
//! [`RelayMachine`] takes [`Event`]s and gives [`Command`]s. Whoever drives it reads tables, hands records to
//! producers and tells what came of it; nothing here knows how.
//!
//! Invariants:
//! - A row is marked only after the broker acknowledged it.
//! - A row of a (topic, key) is handed to a producer only after those before it, and a topic changes producers
//!   only with nothing of it in flight. When a lane or a producer is lost, everything in flight is purged before
//!   anything of it is published again, so no late record follows its successor.
//! - A row dies only of its own: where the client refuses it, or where the broker did and it was alone.
//! - One topic's trouble is its own: what waits for it takes neither the producer nor the room of others.

mod aside;
mod horizon;
mod lane_cursor;
mod machine;
mod poll_schedule;
mod topics;

use std::sync::Arc;
use std::time::Duration;

pub use horizon::STRAGGLERS_MAX;
pub use machine::RelayMachine;
pub use poll_schedule::SLEEP;

/// Settings of the relay that an operator chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Rows that one look reads at most.
    pub batch_rows_max: usize,
    /// Rows in hand, read and not marked yet, beyond which nothing is read. What waits for a slow topic counts
    /// apart, as many again.
    pub in_flight_max: usize,
    /// Bytes in memory of rows in hand, likewise.
    pub in_flight_bytes_max: usize,
    /// Longest wait of a record for its acknowledgement.
    pub publish_timeout: Duration,
    /// Shortest wait between two looks.
    pub poll_min: Duration,
    /// Longest wait between two looks.
    pub poll_max: Duration,
    /// Way by which the relay hears of new rows.
    pub wake: Wake,
}

/// Ways by which the relay hears of new rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Producers wake a relay that sleeps (`LISTEN` and `NOTIFY`), with polling behind it.
    Notify,
    /// Look at intervals only, for poolers in transaction mode.
    Poll,
}

/// Tells producers of this relay apart; none is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub u32);

/// Tells the records that were handed over apart, over all producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub usize);

/// A row to publish, as far as its contents do not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<R> {
    /// Lane to which the row belongs.
    pub lane: i32,
    /// Place in the lane.
    pub seq: i64,
    /// Topic to which it goes.
    pub topic: Arc<str>,
    /// Bytes that it has in a request, about.
    pub bytes: usize,
    /// The bytes that it takes in memory.
    pub memory: usize,
    /// Reason why no broker can take it, where that can be seen beforehand.
    pub unfit: Option<String>,
    /// The record, cheap to clone.
    pub record: R,
}

/// Knowledge of other transactions in a look's snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Tells the server that answered from others, as after a failover.
    pub server: i64,
    /// The highest `seq` that was drawn by the time of the look.
    pub last_seq: i64,
    /// No transaction from it on had ended when the look began; those below it that had not are known.
    pub xmax: i64,
    /// The look's own transaction id, where it was to take one.
    pub own_id: Option<i64>,
    /// Transactions that had not ended, lowest first, as far as they were asked for.
    pub open: Vec<i64>,
    /// Transactions among [`Look::stragglers`] that had ended.
    pub ended: Vec<i64>,
}

/// Result of one look at the lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<R> {
    /// A prefix of what each lane has from the look's start on, in order of `seq`.
    pub rows: Vec<Row<R>>,
    /// Rows may have been left out for their bytes.
    pub is_cut: bool,
    /// Snapshot of other transactions.
    pub snapshot: Snapshot,
    /// Time until the first scheduled row is due, zero where one is; asked for by [`Look::schedule`].
    pub next_due: Option<Duration>,
}

/// Result of a look at scheduled rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuePage<R> {
    /// See [`Snapshot::server`].
    pub server: i64,
    /// Rows that are due, of each lane in order of their times.
    pub rows: Vec<Row<R>>,
    /// See [`Page::is_cut`].
    pub is_cut: bool,
    /// Time until the first row is due that is not due yet.
    pub next_due: Option<Duration>,
}

/// Rows of one topic, as a look found them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsidePage<R> {
    /// See [`Snapshot::server`]; told where there are rows.
    pub server: Option<i64>,
    /// Rows in order of `seq`.
    pub rows: Vec<Row<R>>,
    /// See [`Page::is_cut`].
    pub is_cut: bool,
}

/// The next rows of all lanes, but for scheduled ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Lanes to look at.
    pub lanes: Vec<i32>,
    /// Place of each lane above which rows are looked for.
    pub late: Vec<i64>,
    /// Bound of rows, of each lane.
    pub bounds: Vec<i64>,
    /// Topics whose rows wait.
    pub without: Vec<Arc<str>>,
    /// Bound of rows in all.
    pub rows_max: usize,
    /// Bound of their bytes in memory, which the last one may exceed.
    pub bytes_max: usize,
    /// Transactions that may have ended.
    pub stragglers: Vec<i64>,
    /// Place above which rows are looked for where the transaction has ended, for each of them.
    pub floors: Vec<i64>,
    /// True if a transaction id is to be taken.
    pub sample: bool,
    /// Open transactions below this id are named.
    pub open_below: i64,
    /// Bound of named transactions.
    pub open_max: i64,
    /// True if the time of the first scheduled row is asked for.
    pub schedule: bool,
}

/// Scheduled rows of all lanes that are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookDue {
    /// Lanes to look at.
    pub lanes: Vec<i32>,
    /// Bound of rows, of each lane.
    pub bounds: Vec<i64>,
    /// Topics whose rows wait.
    pub without: Vec<Arc<str>>,
    /// Bound of rows in all.
    pub rows_max: usize,
    /// See [`Look::bytes_max`].
    pub bytes_max: usize,
}

/// The first rows of one topic in all lanes, scheduled ones that are due among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookAside {
    /// Topic of the rows.
    pub topic: Arc<str>,
    /// Lanes to look at.
    pub lanes: Vec<i32>,
    /// Bound of rows, of each lane.
    pub bounds: Vec<i64>,
    /// Bound of rows in all.
    pub rows_max: usize,
    /// See [`Look::bytes_max`].
    pub bytes_max: usize,
}

/// A row that the broker acknowledged, and where it put it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published<R> {
    /// Row that was published.
    pub row: Row<R>,
    /// Partition of the record in Kafka.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

/// Rows that have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkBatch<R> {
    /// Acknowledged ones.
    pub published: Vec<Published<R>>,
    /// Refused ones, with the reason.
    pub refused: Vec<(Row<R>, String)>,
}

/// The answer for one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Record that this answers.
    pub ticket: Ticket,
    /// Partition and offset, or why it has none.
    pub result: Result<(i32, i64), Refusal>,
}

/// Refusal of a record, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Remedy that it asks for.
    pub meaning: RefusalMeaning,
    /// Reason, for people.
    pub reason: String,
    /// True if the client said so of this record before it sent anything.
    pub by_client: bool,
}

/// Remedies that a refusal can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalMeaning {
    /// Record or batch is too large, or against the topic's rules.
    Record,
    /// The time that the record was given is out of the topic's bounds.
    Timestamp,
    /// The topic, or its partition, is missing or closed to us.
    Topic,
    /// The partition did not take it in time, or answered something that asks for nothing else.
    Partition,
    /// The producer has to be made anew.
    Producer,
}

/// A command that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Pause before the next try.
    pub wait: Duration,
    /// True if the connection was lost: the server that answers next may be another.
    pub connection_lost: bool,
}

/// Result of a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marked {
    /// Committed.
    Done,
    /// These lanes are another's; nothing was written.
    LanesLost(Vec<i32>),
}

/// News for producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// Producers have to wake us, for [`SLEEP`].
    Asleep,
    /// Producers need not wake us.
    Awake,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<R> {
    /// The lane is ours now.
    LaneTaken(i32),
    /// Another host is to have the lane: what is in flight is finished, then it is given back.
    LaneWanted(i32),
    /// The lane is another's.
    LaneLost(i32),
    /// An operator touched rows of the lane.
    LaneTouched(i32),
    /// Something was written to the outbox.
    Woken,
    /// True if the session outlasts the publish timeout: otherwise nothing is handed over.
    SessionOutlasts(bool),
    /// Ends [`Command::Look`].
    Looked(Result<Page<R>, Failure>),
    /// Ends [`Command::LookDue`].
    LookedDue(Result<DuePage<R>, Failure>),
    /// Ends [`Command::LookAside`].
    LookedAside(Result<AsidePage<R>, Failure>),
    /// Answers for records.
    Delivered(Vec<Delivery>),
    /// Ends [`Command::Purge`]: no answer of this producer follows.
    Purged(ProducerId),
    /// Ends [`Command::Mark`].
    Marked(Result<Marked, Failure>),
    /// Ends [`Command::Ask`] with those of its topics that Kafka does not have, or with the reason why it did not
    /// answer.
    Asked(Result<Vec<Arc<str>>, String>),
    /// Ends [`Command::Tell`].
    Told(Result<Tell, Failure>),
    /// The time of [`RelayMachine::next_timer`] has come.
    TimerDue,
    /// The host stops: what is in flight is awaited and marked.
    Stop,
}

/// Something to do. All but [`Command::Send`], [`Command::Open`] and [`Command::Say`] end with an event of their
/// own, and of each of these, [`Command::Purge`] and [`Command::Release`] aside, one is under way at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<R> {
    /// Read the next rows.
    Look(Look),
    /// Read scheduled rows that are due.
    LookDue(LookDue),
    /// Read rows of a topic that has a producer of its own.
    LookAside(LookAside),
    /// Make a producer.
    Open(ProducerId),
    /// Hand a record over. The driver keeps the order of what a producer has no room for.
    Send {
        /// Producer to which it goes.
        producer: ProducerId,
        /// The number that comes back with the answer.
        ticket: Ticket,
        /// Row that becomes the record.
        row: Row<R>,
        /// True if the record has a time: that of handing it over.
        timestamp: bool,
    },
    /// End a producer at once, with everything in flight.
    Purge(ProducerId),
    /// Write what has ended, under the tokens of the lanes.
    Mark(Arc<MarkBatch<R>>),
    /// Ask Kafka for topics.
    Ask(Vec<Arc<str>>),
    /// Tell producers whether they have to wake us.
    Tell(Tell),
    /// Give lanes back; they are forgotten here.
    Release(Vec<i32>),
    /// Tell people.
    Say(Notice),
    /// The relay has stopped: nothing is in flight that is worth waiting for, and all that has ended is
    /// marked.
    Stopped,
}

/// News for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Messages to this topic wait.
    TopicWaits {
        /// Topic whose rows wait.
        topic: Arc<str>,
        /// Reason, and remedy.
        why: String,
    },
    /// Rows of the topic do not wait any more.
    TopicGoesOn {
        /// Topic whose rows go on.
        topic: Arc<str>,
        /// Length of the wait.
        after: Duration,
    },
    /// The producer of all topics is made anew.
    ProducerRenewed {
        /// Reason of the trouble.
        why: String,
    },
    /// Records for this topic are sent without a time from now on.
    WithoutTimestamps {
        /// Topic that refuses the times.
        topic: Arc<str>,
        /// The broker's words.
        why: String,
    },
    /// Another server answers, as after a failover, which may have lost what was committed last: all lanes are read
    /// from their start.
    AnotherServer,
    /// The outbox's sequence fell back, as after a failover that lost commits: all lanes are read from their start.
    SequenceFellBack {
        /// The highest `seq` that was seen drawn.
        from: i64,
        /// The highest `seq` that is drawn now.
        to: i64,
    },
}
