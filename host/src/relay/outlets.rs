//! The producers of a relay, and what it hands to them.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::record;
use crate::config::Config;
use crate::kafka::{self, KafkaError, Outbound, ProduceMeaning, Producer};
use crate::metrics::RelayMetrics;
use crate::outbox::Pending;
use mailroom_core::relay::{Delivery, ProducerId, Refusal, RefusalMeaning, Row, Ticket};

/// Answers that are taken at once at most.
const ANSWERS_MAX: usize = 4096;

/// A record that its producer has no room for yet.
struct Waiting {
    ticket: Ticket,
    row: Row<Arc<Pending>>,
    timestamp: bool,
}

struct Outlet {
    producer: Producer,
    /// Records in order; what comes after one of these waits too.
    waiting: VecDeque<Waiting>,
}

/// All producers, by the machine's numbers.
pub(super) struct Outlets {
    config: Arc<Config>,
    all: BTreeMap<ProducerId, Outlet>,
    answers: mpsc::UnboundedReceiver<kafka::Delivery>,
    answer: mpsc::UnboundedSender<kafka::Delivery>,
    taken: Vec<kafka::Delivery>,
    metrics: RelayMetrics,
}

impl Outlets {
    pub(super) fn new(config: Arc<Config>, metrics: RelayMetrics) -> Self {
        let (answer, answers) = mpsc::unbounded_channel();
        Self { config, all: BTreeMap::new(), answers, answer, taken: Vec::new(), metrics }
    }

    pub(super) fn open(&mut self, id: ProducerId) -> Result<(), KafkaError> {
        let timeout = self.config.relay.publish_timeout;
        let producer = Producer::new(&self.config.kafka, timeout, self.answer.clone())?;
        self.all.insert(id, Outlet { producer, waiting: VecDeque::new() });
        Ok(())
    }

    /// Hands a record over; gives the answer where the client has one at once.
    pub(super) fn send(
        &mut self,
        id: ProducerId,
        ticket: Ticket,
        row: Row<Arc<Pending>>,
        timestamp: bool,
    ) -> Option<Delivery> {
        let outlet = self.all.get_mut(&id)?;
        self.metrics.sends(ticket, &row.topic, row.record.age());
        let waiting = Waiting { ticket, row, timestamp };
        if !outlet.waiting.is_empty() {
            outlet.waiting.push_back(waiting);
            return None;
        }
        let answer = outlet.send(waiting)?;
        self.metrics.answered(answer.ticket, &answer.result);
        Some(answer)
    }

    /// Hands over what had no room; gives the answers that the client has at once.
    pub(super) fn send_waiting(&mut self) -> Vec<Delivery> {
        let mut answers = Vec::new();
        for outlet in self.all.values_mut() {
            for _ in 0..outlet.waiting.len() {
                let Some(next) = outlet.waiting.pop_front() else { break };
                let before = outlet.waiting.len();
                if let Some(answer) = outlet.send(next) {
                    self.metrics.answered(answer.ticket, &answer.result);
                    answers.push(answer);
                }
                if outlet.waiting.len() > before {
                    break;
                }
            }
        }
        answers
    }

    /// The next answers. Cancel safe.
    pub(super) async fn answers(&mut self) -> Vec<Delivery> {
        self.answers.recv_many(&mut self.taken, ANSWERS_MAX).await;
        let taken = self.taken.drain(..).map(answer_of);
        taken.inspect(|answer| self.metrics.answered(answer.ticket, &answer.result)).collect()
    }

    /// Answers that are there already.
    pub(super) fn answers_already(&mut self) -> Vec<Delivery> {
        let taken = std::iter::from_fn(|| self.answers.try_recv().ok()).map(answer_of);
        taken.inspect(|answer| self.metrics.answered(answer.ticket, &answer.result)).collect()
    }

    /// Ends a producer with everything in flight. Once that is done all its answers are there.
    pub(super) fn purge(&mut self, id: ProducerId) -> impl Future<Output = ()> + Send + 'static {
        let outlet = self.all.remove(&id);
        let waiting = outlet.iter().flat_map(|outlet| &outlet.waiting);
        waiting.for_each(|waiting| self.metrics.withdrawn(waiting.ticket));
        end(outlet)
    }

    /// Ends all producers.
    pub(super) fn purge_all(&mut self) -> Vec<impl Future<Output = ()> + Send + 'static> {
        std::mem::take(&mut self.all).into_values().map(|outlet| end(Some(outlet))).collect()
    }
}

async fn end(outlet: Option<Outlet>) {
    if let Some(outlet) = outlet {
        outlet.producer.purge().await;
    }
}

impl Outlet {
    fn send(&mut self, record: Waiting) -> Option<Delivery> {
        let row = &record.row.record;
        let headers = record::headers(row);
        let outbound = Outbound {
            topic: &row.topic,
            key: row.key.as_deref(),
            payload: row.payload.as_deref(),
            headers: &headers,
            timestamp: record.timestamp,
        };
        match self.producer.send(record.ticket.0, &outbound) {
            Ok(()) => None,
            Err(error) if error.produce_meaning() == ProduceMeaning::Full => {
                self.waiting.push_front(record);
                None
            }
            Err(error) => Some(Delivery { ticket: record.ticket, result: Err(refusal(&error, true)) }),
        }
    }
}

fn answer_of(delivery: kafka::Delivery) -> Delivery {
    let result = delivery.result.map_err(|error| refusal(&error, false));
    Delivery { ticket: Ticket(delivery.ticket), result }
}

fn refusal(error: &KafkaError, by_client: bool) -> Refusal {
    let meaning = match error.produce_meaning() {
        ProduceMeaning::Record => RefusalMeaning::Record,
        ProduceMeaning::Timestamp => RefusalMeaning::Timestamp,
        ProduceMeaning::Topic => RefusalMeaning::Topic,
        ProduceMeaning::Partition | ProduceMeaning::Full => RefusalMeaning::Partition,
        ProduceMeaning::Producer => RefusalMeaning::Producer,
    };
    Refusal { meaning, reason: error.to_string(), by_client }
}
