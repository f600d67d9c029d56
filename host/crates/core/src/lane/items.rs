//! The messages of a lane in memory, which count their own weight, and the stages of each between its arrival and its
//! settlement.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::{Add, RangeBounds, Sub};
use std::sync::Arc;

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
    /// Stage that it has reached; [`Items::set_stage`] changes it.
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

/// A number of messages, and the bytes that they take in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Weight {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Weight {
    /// Weighs one message.
    pub(crate) fn of(message: &Message) -> Self {
        Self { messages: 1, bytes: message.bytes() }
    }
}

impl Add for Weight {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { messages: self.messages + other.messages, bytes: self.bytes + other.bytes }
    }
}

impl Sub for Weight {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(other.messages),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// Source of a message: neither source can take all of the memory from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    /// Kafka, by a poll.
    Polled,
    /// Postgres, by a read.
    Read,
}

/// The messages, by place.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Items<E> {
    all: BTreeMap<Seq, Item<E>>,
    polled: Weight,
    read: Weight,
    /// Bytes of what was decided and is not written.
    effects: usize,
}

impl<E> Default for Items<E> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), polled: Weight::default(), read: Weight::default(), effects: 0 }
    }
}

impl<E> Items<E> {
    pub(crate) fn insert(&mut self, item: Item<E>) {
        let (weight, source) = (item.weight, item.source);
        self.effects += item.stage.effects();
        if let Some(before) = self.all.insert(item.seq(), item) {
            self.uncount(&before);
        }
        let counted = self.counted(source);
        *counted = *counted + weight;
    }

    pub(crate) fn remove(&mut self, seq: Seq) -> Option<Item<E>> {
        let item = self.all.remove(&seq)?;
        self.uncount(&item);
        Some(item)
    }

    /// Moves a message to another stage; gives the one before.
    pub(crate) fn set_stage(&mut self, seq: Seq, stage: Stage<E>) -> Option<Stage<E>> {
        let item = self.all.get_mut(&seq)?;
        self.effects = (self.effects + stage.effects()).saturating_sub(item.stage.effects());
        Some(std::mem::replace(&mut item.stage, stage))
    }

    fn uncount(&mut self, item: &Item<E>) {
        let counted = self.counted(item.source);
        *counted = *counted - item.weight;
        self.effects = self.effects.saturating_sub(item.stage.effects());
    }

    fn counted(&mut self, source: Source) -> &mut Weight {
        match source {
            Source::Polled => &mut self.polled,
            Source::Read => &mut self.read,
        }
    }

    pub(crate) fn weight(&self, source: Source) -> Weight {
        match source {
            Source::Polled => self.polled,
            Source::Read => self.read,
        }
    }

    /// Gives the bytes of what was decided and is not written.
    pub(crate) fn effects(&self) -> usize {
        self.effects
    }

    pub(crate) fn get(&self, seq: Seq) -> Option<&Item<E>> {
        self.all.get(&seq)
    }

    /// Gives one to change; its weight, source and stage stay.
    pub(crate) fn get_mut(&mut self, seq: Seq) -> Option<&mut Item<E>> {
        self.all.get_mut(&seq)
    }

    pub(crate) fn contains(&self, seq: Seq) -> bool {
        self.all.contains_key(&seq)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Seq, &Item<E>)> {
        self.all.iter()
    }

    pub(crate) fn range(&self, range: impl RangeBounds<Seq>) -> Range<'_, Seq, Item<E>> {
        self.all.range(range)
    }
}
