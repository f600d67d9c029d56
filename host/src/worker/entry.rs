//! A message in memory, and when it may start.

use std::sync::Arc;

use tokio::time::Instant;

use crate::inbox::Found;
use crate::message::Message;

/// A message that waits for its turn.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) message: Arc<Message>,
    /// Not before.
    pub(crate) due: Instant,
    /// Why it cannot be handed to anybody.
    pub(crate) nonsense: Option<String>,
}

impl Entry {
    /// A message that was polled a moment ago, or waits again until `due`.
    pub(crate) fn due_at(message: Arc<Message>, due: Instant) -> Self {
        Self { message, due, nonsense: None }
    }

    /// A message that was read from its lane.
    pub(crate) fn found(found: Found) -> Self {
        Self { message: found.message, due: Instant::now() + found.due_in, nonsense: found.nonsense }
    }

    /// Whose turn it waits for.
    pub(crate) fn key(&self, ordered: bool) -> Key {
        let order = match self.message.okey {
            Some(okey) if ordered => Order::Key(okey),
            _ => Order::Alone(self.message.seq),
        };
        Key { lane: self.message.lane, order }
    }
}

/// What messages wait for each other by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) lane: i32,
    pub(crate) order: Order,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Messages of a key.
    Key(i64),
    /// A message that waits for nobody: its `seq`.
    Alone(i64),
}
