//! History of what hosts did to a stream of messages while they were killed: the evidence, read from tables
//! and topics, and the judgement over it. The judgement is pure and names each breach.

pub mod check;
pub mod gather;
pub mod watch;

pub use check::{Breach, check};
pub use watch::Watch;

/// A message that a test sent to the handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The producer's id.
    pub id: String,
    /// Key; messages of a key were sent in the order of the list.
    pub key: String,
    /// Value that the guest is to give back.
    pub value: i64,
    /// Number of times that its script tells the guest to fail on it before it completes.
    pub failures: i64,
}

/// A row of the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// The producer's id.
    pub id: String,
    /// Status of the row, and the reason where it failed.
    pub status: String,
    /// Attempts, as the row counts them.
    pub attempts_made: i64,
    /// Attempts among these that passed their deadline and had hardly run: the machine had no processor for them.
    pub starved: i64,
}

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The order within its key.
    pub seq: i64,
    /// The id that its record carries.
    pub id: String,
    /// Topic to which it goes.
    pub topic: String,
    /// Key of the message.
    pub key: String,
    /// Status of the row.
    pub status: String,
    /// Words of the guest when it emitted the row; `None` for a row that an application wrote.
    pub emitted: Option<Emitted>,
}

/// Content that the guest gives to what it emits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The id of the message that it was called with.
    pub cause: String,
    /// The attempt on which it completed: one more than the failures that it decided before.
    pub attempt: i64,
    /// The message's value.
    pub value: i64,
    /// Number of messages of its key that it had completed by then, by its own keyed state.
    pub sum: i64,
}

/// A record of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The id of its outbox row.
    pub id: String,
    /// Topic in which it was read.
    pub topic: String,
    /// Key of the record.
    pub key: String,
}

/// A lane that no live host owned for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Lane that was without an owner.
    pub lane: i32,
    /// Length by the clock of Postgres, from the first look that saw it so to the last, without the time in
    /// which Postgres held up the looks.
    pub milliseconds: i64,
}

/// Everything that is judged.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// All messages, in the order in which they were sent.
    pub sent: Vec<Sent>,
    /// The whole inbox.
    pub handled: Vec<Handled>,
    /// The whole outbox, in order of `seq`.
    pub rows: Vec<Row>,
    /// All records of all output topics, partition by partition in order.
    pub published: Vec<Published>,
    /// Key and sum of the handler's keyed state.
    pub sums: Vec<(String, i64)>,
    /// Each time that a lane had no live owner.
    pub gaps: Vec<Gap>,
    /// Longest time that a gap may last.
    pub gap_milliseconds_max: i64,
}
