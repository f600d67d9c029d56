//! Producers beside the one of all topics, each for one topic that is in trouble.
//!
//! librdkafka can purge a producer but no topic, so a topic of which nothing is acknowledged costs the others one
//! hiccup: their producer is purged. From then on it waits here, with one row tried at a time until one is
//! acknowledged.

use std::collections::VecDeque;

use super::topics::TopicId;
use super::{ProducerId, Row};
use crate::time::Moment;

/// Side producers at most; topics take turns.
pub(super) const SIDES_MAX: usize = 4;

/// A side producer.
#[derive(Debug, Clone)]
pub(super) struct Side<R> {
    pub(super) id: ProducerId,
    /// True while it is being ended; another takes its place.
    pub(super) purging: bool,
    pub(super) work: Option<Work<R>>,
}

/// A topic at a side producer.
#[derive(Debug, Clone)]
pub(super) struct Work<R> {
    pub(super) topic: TopicId,
    /// Next rows of the topic, in hand, in order.
    pub(super) queue: VecDeque<Row<R>>,
    /// A look found nothing more of it.
    pub(super) exhausted: bool,
    /// Something was acknowledged here.
    pub(super) works: bool,
    /// Time of the last trouble.
    pub(super) trouble_at: Moment,
    /// Another topic is to have the producer.
    pub(super) gives_way: bool,
}

impl<R> Work<R> {
    pub(super) fn new(topic: TopicId, now: Moment) -> Self {
        let queue = VecDeque::new();
        Self { topic, queue, exhausted: false, works: false, trouble_at: now, gives_way: false }
    }
}

/// Topics that wait for a side producer, none before its time.
#[derive(Debug, Clone, Default)]
pub(super) struct SideQueue {
    topics: VecDeque<(Moment, TopicId)>,
}

impl SideQueue {
    pub(super) fn push(&mut self, topic: TopicId, not_before: Moment) {
        if !self.topics.iter().any(|(_, waits)| *waits == topic) {
            self.topics.push_back((not_before, topic));
        }
    }

    /// Takes out the first that may have its turn.
    pub(super) fn pop(&mut self, now: Moment, may: impl Fn(TopicId) -> bool) -> Option<TopicId> {
        let place = self.topics.iter().position(|(not_before, topic)| *not_before <= now && may(*topic))?;
        self.topics.remove(place).map(|(_, topic)| topic)
    }

    /// Forgets those for which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl Fn(TopicId) -> bool) {
        self.topics.retain(|(_, topic)| keep(*topic));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }
}
