//! Stages of a message between its arrival and its settlement.

use std::sync::Arc;

use super::items::{Source, Weight};
use crate::handler_machine::command::{EndedBy, How};
use crate::handler_machine::event::{Decision, Ending};
use crate::ids::{CallId, OrderBy, Seq};
use crate::message::Message;
use crate::time::Moment;

/// Location of a message's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Row {
    /// No row yet.
    Unstored,
    /// Row among those that are not held.
    Ready,
    /// Row among the held ones.
    Held,
}

/// Stage that a message has reached. Along a key's queue stages only fall: what is being written, what is
/// decided, what runs, what waits.
#[derive(Debug, Clone, Hash)]
pub(crate) enum Stage<E> {
    /// Waiting for its turn, not before `due`.
    Waiting {
        /// The earliest start.
        due: Moment,
    },
    /// Being called.
    Running {
        /// Number of the call that has it.
        call: CallId,
        /// The message of its key whose uncommitted state it builds on.
        based_on: Option<Seq>,
    },
    /// Ended, and waiting to be settled.
    Decided(How<E>),
    /// Being settled.
    Writing(How<E>),
}

/// A message in memory.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Item<E> {
    pub(crate) message: Arc<Message>,
    pub(crate) order: OrderBy,
    pub(crate) weight: Weight,
    pub(crate) source: Source,
    pub(crate) row: Row,
    /// Stage that it has reached; [`super::Items::set_stage`] changes it.
    pub(crate) stage: Stage<E>,
    /// Reason why no handler can have it.
    pub(crate) unfit: Option<Arc<str>>,
    /// True if it is not started before it has its row.
    pub(crate) stored_first: bool,
}

impl<E> Stage<E> {
    /// Gives the bytes of what was decided and is not written.
    pub(super) fn effects(&self) -> usize {
        match self {
            Self::Decided(how) | Self::Writing(how) => how.bytes(),
            Self::Waiting { .. } | Self::Running { .. } => 0,
        }
    }
}

impl<E> Item<E> {
    pub(crate) fn seq(&self) -> Seq {
        Seq(self.message.seq)
    }

    /// Tells whether it waits for its turn.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting { .. })
    }
}

/// Gives what a message waits behind.
pub(crate) fn order_of(message: &Message) -> OrderBy {
    message.okey.map_or(OrderBy::Nothing(Seq(message.seq)), |okey| OrderBy::Key(crate::ids::OrderKey(okey)))
}

impl<E> How<E> {
    /// Returns the fate of the message.
    pub(crate) fn ending(&self) -> Ending {
        match &self.end {
            EndedBy::Call(decision) => decision.ending,
            EndedBy::Host(reason, _) => Ending::Dead(*reason),
        }
    }

    pub(crate) fn decision(&self) -> Option<&Decision<E>> {
        match &self.end {
            EndedBy::Call(decision) => Some(decision),
            EndedBy::Host(..) => None,
        }
    }

    /// Gives the bytes that what is written with it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.decision().map_or(0, |decision| decision.bytes)
    }

    pub(crate) fn has_sql(&self) -> bool {
        self.decision().is_some_and(|decision| decision.has_sql)
    }

    pub(crate) fn wrote_state(&self) -> bool {
        self.decision().is_some_and(|decision| decision.wrote_state)
    }

    /// Tells whether the next message of the key has to wait until this one is settled: it may be called
    /// again, or what it wrote is seen by nobody before.
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(self.ending(), Ending::Waits { .. }) || self.has_sql() || self.version.once
    }
}
