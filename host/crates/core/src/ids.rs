//! Names of things, each a type of its own so that none is taken for another.

use std::fmt;
use std::sync::Arc;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($of:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $of);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// The number of a lane's row.
    LaneId(i32)
}
id! {
    /// The right to write for a lane. It rises with every taking of the lane, so that nothing is written under an
    /// old one.
    LaneToken(i64)
}
id! {
    /// A message's place in the order of the inbox.
    Seq(i64)
}
id! {
    /// A hash of where a key came from. Messages with the same one are handled one after another.
    OrderKey(i64)
}
id! {
    /// The count of operators' acts on a lane's rows.
    RereadCount(i64)
}
id! {
    /// The number of a call in its process.
    CallId(u64)
}
id! {
    /// The number of a settlement in its process.
    WriteId(u64)
}

/// A partition of a Kafka topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of topic {}", self.partition, self.topic)
    }
}

/// The right to work on a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// Lane that may be worked on.
    pub lane: LaneId,
    /// Token of the lane when it was taken.
    pub token: LaneToken,
}

/// Order that a message keeps: behind others of its key, or behind none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderBy {
    /// The messages of its key.
    Key(OrderKey),
    /// Nothing: a message without a key, named by its own place.
    Nothing(Seq),
}

impl OrderBy {
    /// Gives the key, where there is one.
    #[must_use]
    pub fn key(self) -> Option<OrderKey> {
        match self {
            Self::Key(key) => Some(key),
            Self::Nothing(_) => None,
        }
    }
}
