//! Rows between the table and the broker's acknowledgement.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::record;
use super::topics::TopicBook;
use crate::config::Config;
use crate::kafka::{Delivery, KafkaError, Outbound, ProduceMeaning, Producer};
use crate::outbox::{Pending, Published};

/// The part of the publish timeout after which everything in flight is given up together.
const PATIENCE: f64 = 0.8;

/// What happened to a row.
#[derive(Debug)]
pub(super) enum Fate {
    /// The broker has it.
    Acknowledged(Published),
    /// It is refused for ever.
    Refused(Pending, String),
    /// Its topic is missing or closed to us, with the reason where it was just found out.
    TopicHeld(Pending, Option<String>),
    /// It is to be read again.
    Again(Pending),
}

/// The producer and what it has not answered for.
pub(super) struct Flight {
    producer: Producer,
    next_ticket: usize,
    rows: HashMap<usize, Pending>,
    /// When tickets were handed over, oldest first.
    sent: VecDeque<(Instant, usize)>,
    unsent: VecDeque<Pending>,
    /// The producer failed as a whole and has to be made anew.
    broken: bool,
}

impl Flight {
    pub(super) fn new(config: &Config) -> Result<Self, KafkaError> {
        let producer = Producer::new(&config.kafka, config.relay.publish_timeout)?;
        Ok(Self {
            producer,
            next_ticket: 0,
            rows: HashMap::new(),
            sent: VecDeque::new(),
            unsent: VecDeque::new(),
            broken: false,
        })
    }

    /// Rows that are not answered for.
    pub(super) fn len(&self) -> usize {
        self.rows.len() + self.unsent.len()
    }

    /// Rows that the producer has.
    pub(super) fn in_flight(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn push(&mut self, row: Pending) {
        self.unsent.push_back(row);
    }

    /// Ends the wait for the broker before librdkafka does: it fails records one by one, and a later one
    /// of the same partition might still go out. Here all fail at once.
    pub(super) fn check_age(&mut self, publish_timeout: Duration) {
        while let Some((_, ticket)) = self.sent.front()
            && !self.rows.contains_key(ticket)
        {
            self.sent.pop_front();
        }
        let patience = publish_timeout.mul_f64(PATIENCE);
        if let Some((since, _)) = self.sent.front()
            && since.elapsed() > patience
            && !self.broken
        {
            tracing::warn!("Kafka has not acknowledged messages for {patience:?}; they are published anew");
            self.broken = true;
        }
    }

    /// Hands rows to the producer until it is full.
    pub(super) fn send(&mut self, topics: &TopicBook, fates: &mut Vec<Fate>) {
        while let Some(row) = self.unsent.pop_front() {
            if self.broken {
                self.unsent.push_front(row);
                return;
            }
            if topics.holds(&row.topic) {
                fates.push(Fate::TopicHeld(row, None));
                continue;
            }
            if let Some(reason) = record::unfit(&row) {
                fates.push(Fate::Refused(row, reason));
                continue;
            }
            let headers = record::headers(&row);
            let outbound = Outbound {
                topic: &row.topic,
                key: row.key.as_deref(),
                payload: row.payload.as_deref(),
                headers: &headers,
            };
            match self.producer.send(self.next_ticket, &outbound) {
                Ok(()) => {
                    self.rows.insert(self.next_ticket, row);
                    self.sent.push_back((Instant::now(), self.next_ticket));
                    self.next_ticket = self.next_ticket.wrapping_add(1);
                }
                Err(error) if error.produce_meaning() == ProduceMeaning::Full => {
                    self.unsent.push_front(row);
                    return;
                }
                Err(error) => self.failed(row, &error, fates),
            }
        }
    }

    /// The next delivery report. Cancel safe.
    pub(super) async fn delivered(&mut self) -> Option<Delivery> {
        self.producer.delivered().await
    }

    /// Takes a report, and those that are there with it.
    pub(super) fn take(&mut self, first: Delivery, fates: &mut Vec<Fate>) {
        let mut next = Some(first);
        while let Some(delivery) = next {
            self.land(delivery, fates);
            next = self.producer.delivered_already();
        }
    }

    fn land(&mut self, delivery: Delivery, fates: &mut Vec<Fate>) {
        let Some(row) = self.rows.remove(&delivery.ticket) else { return };
        match delivery.result {
            Ok((partition, offset)) => {
                fates.push(Fate::Acknowledged(Published { lane: row.lane, seq: row.seq, partition, offset }));
            }
            Err(error) => self.failed(row, &error, fates),
        }
    }

    fn failed(&mut self, row: Pending, error: &KafkaError, fates: &mut Vec<Fate>) {
        match error.produce_meaning() {
            ProduceMeaning::Record => fates.push(Fate::Refused(row, error.to_string())),
            ProduceMeaning::Topic => fates.push(Fate::TopicHeld(row, Some(error.to_string()))),
            ProduceMeaning::Full | ProduceMeaning::Away => {
                if !self.broken {
                    tracing::warn!(%error, "Kafka did not take a message in time; the producer is made anew");
                }
                self.broken = true;
                fates.push(Fate::Again(row));
            }
        }
    }

    /// Ends the producer and makes another. What was acknowledged meanwhile is still told; everything
    /// else is forgotten and has to be read again.
    pub(super) async fn renew(self, config: &Config, fates: &mut Vec<Fate>) -> Result<Self, KafkaError> {
        let Self { producer, mut rows, .. } = self;
        for delivery in producer.purge().await {
            if let (Some(row), Ok((partition, offset))) = (rows.remove(&delivery.ticket), delivery.result) {
                fates.push(Fate::Acknowledged(Published { lane: row.lane, seq: row.seq, partition, offset }));
            }
        }
        Self::new(config)
    }

    /// Ends the producer; whatever it did not answer for is published again by the next owner.
    pub(super) async fn end(self) {
        self.producer.purge().await;
    }

    /// Rows that were never handed over are left to the next owner.
    pub(super) fn drop_unsent(&mut self) {
        self.unsent.clear();
    }
}
