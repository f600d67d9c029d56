//! The messages of a lane in memory, which count their own weight.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::{Add, RangeBounds, Sub};

use super::stage::{Item, Stage};
use crate::ids::Seq;
use crate::message::Message;

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
