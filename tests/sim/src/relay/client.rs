//! Producers of a host, as their library has them: queues by partition, numbers without gaps, and an end with the
//! first gap.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use mailroom_core::relay::{Delivery, ProducerId, Refusal, RefusalMeaning, Row, Ticket};

use super::broker::Place;
use super::setup::PUBLISH_TIMEOUT;
use super::store::{Flaw, Message};

/// A record that a producer has.
#[derive(Debug, Clone)]
pub(crate) struct Handed {
    pub(crate) ticket: Ticket,
    pub(crate) row: Row<Message>,
    pub(crate) place: Place,
    pub(crate) timestamp: bool,
    pub(crate) at: u64,
}

/// Records of a partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    /// Records that are in no request.
    pub(crate) unsent: VecDeque<Handed>,
    /// Requests under way.
    pub(crate) requests: usize,
    /// The number of the next record.
    pub(crate) next: u64,
}

/// A producer.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) pid: u64,
    pub(crate) queues: BTreeMap<Place, Queue>,
    /// All that is not answered: when it was handed over.
    pub(crate) open: BTreeMap<Ticket, (u64, u64)>,
    /// Records that it has no room for, in order.
    pub(crate) waiting: VecDeque<Handed>,
    /// True if it takes nothing any more.
    pub(crate) fatal: bool,
}

/// The producers of a host, and what they answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients {
    pub(crate) all: BTreeMap<ProducerId, Client>,
    /// Producers that are being ended.
    pub(crate) purging: BTreeMap<ProducerId, Client>,
    pub(crate) purged: VecDeque<ProducerId>,
    pub(crate) answers: VecDeque<Delivery>,
}

pub(crate) fn refusal(ticket: Ticket, meaning: RefusalMeaning, by_client: bool) -> Delivery {
    Delivery { ticket, result: Err(Refusal { meaning, reason: "no".to_owned(), by_client }) }
}

impl Client {
    pub(crate) fn new(pid: u64) -> Self {
        let (queues, open) = (BTreeMap::new(), BTreeMap::new());
        Self { pid, queues, open, waiting: VecDeque::new(), fatal: false }
    }

    /// Takes a record; gives the answer that it has at once.
    fn take(&mut self, mut record: Handed, now: u64) -> Option<Delivery> {
        if self.fatal {
            return Some(refusal(record.ticket, RefusalMeaning::Producer, true));
        }
        if record.row.record.flaw == Flaw::TooLarge {
            return Some(refusal(record.ticket, RefusalMeaning::Record, true));
        }
        record.at = now;
        self.open.insert(record.ticket, (now, record.row.record.id));
        self.queues.entry(record.place).or_default().unsent.push_back(record);
        None
    }

    fn is_full(&self, queue_max: usize) -> bool {
        !self.fatal && self.open.len() >= queue_max
    }

    /// Hands a record over, behind those that wait.
    pub(crate) fn send(&mut self, record: Handed, now: u64, queue_max: usize) -> Option<Delivery> {
        if !self.waiting.is_empty() || self.is_full(queue_max) {
            self.waiting.push_back(record);
            return None;
        }
        self.take(record, now)
    }

    /// Hands over what had no room.
    pub(crate) fn send_waiting(&mut self, now: u64, queue_max: usize) -> Vec<Delivery> {
        let mut answers = Vec::new();
        while !self.is_full(queue_max)
            && let Some(record) = self.waiting.pop_front()
        {
            answers.extend(self.take(record, now));
        }
        answers
    }

    /// Returns when the first of its records is too old.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        self.open.values().map(|(at, _)| at + PUBLISH_TIMEOUT).min()
    }

    /// Answers for all that is open.
    pub(crate) fn refuse_all(&mut self, meaning: impl Fn(u64) -> RefusalMeaning) -> Vec<Delivery> {
        self.queues.clear();
        let open = std::mem::take(&mut self.open);
        open.into_iter().map(|(ticket, (at, _))| refusal(ticket, meaning(at), false)).collect()
    }
}

/// The meaning of the end of a client for a record that was handed over then.
pub(crate) fn at_the_end(now: u64) -> impl Fn(u64) -> RefusalMeaning {
    move |at| if at + PUBLISH_TIMEOUT <= now { RefusalMeaning::Partition } else { RefusalMeaning::Producer }
}

/// The partition of a record.
pub(crate) fn place(topics: &[Arc<str>], row: &Row<Message>, partitions: usize) -> Option<Place> {
    let topic = topics.iter().position(|topic| *topic == row.topic)?;
    let hash = row.record.key.map_or(row.record.id, u64::from);
    let partition = usize::try_from(hash).unwrap_or(0).checked_rem(partitions).unwrap_or(0);
    Some((topic, partition))
}
