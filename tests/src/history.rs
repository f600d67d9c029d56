//! What hosts did to a stream of messages while they were killed: the evidence, read from tables and
//! topics, and the judgement over it. The judgement is pure and names each breach.

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
    /// Its key; messages of a key were sent in the order of the list.
    pub key: String,
    /// What the guest is to give back.
    pub value: i64,
    /// How often its script tells the guest to fail on it before it completes.
    pub failures: i64,
}

/// A row of the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// The producer's id.
    pub id: String,
    /// As in the row; why, where it failed.
    pub status: String,
    /// As in the row.
    pub attempts_made: i64,
}

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The order within its key.
    pub seq: i64,
    /// The id that its record carries.
    pub id: String,
    /// Where it goes.
    pub topic: String,
    /// Its key.
    pub key: String,
    /// As in the row.
    pub status: String,
    /// What the guest said when it emitted the row; `None` for a row that an application wrote.
    pub emitted: Option<Emitted>,
}

/// What the guest says in what it emits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The id of the message that it was called with.
    pub cause: String,
    /// The attempt on which it completed: one more than the failures that it decided before.
    pub attempt: i64,
    /// The message's value.
    pub value: i64,
    /// How many messages of its key it had completed by then, by its own keyed state.
    pub sum: i64,
}

/// A record of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The id of its outbox row.
    pub id: String,
    /// Where it was read.
    pub topic: String,
    /// Its key.
    pub key: String,
}

/// A lane that no live host owned for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The lane.
    pub lane: i32,
    /// By the clock of Postgres, from the first look that saw it so to the last, without the time in which Postgres
    /// held up the looks.
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
    /// How long such a time may be.
    pub gap_milliseconds_max: i64,
}
