//! Handing rows to the producer of all topics, and what it answers.

use std::collections::BTreeSet;

use super::super::topics::{Cause, Topic, TopicId};
use super::super::{Command, Delivery, Notice, ProducerId, Published, Refusal, RefusalMeaning, Row, Ticket};
use super::{Flight, RelayMachine};

impl<R: Clone> RelayMachine<R> {
    /// Hands over what may be in flight. In order within a topic; topics need none.
    pub(super) fn send(&mut self) {
        if !self.session_outlasts || self.main.purging || self.stopping || self.unsent.is_empty() {
            return;
        }
        let mut left = BTreeSet::new();
        for id in std::mem::take(&mut self.unsent) {
            while let Some(row) = self.next_unsent(id) {
                self.hand_over(id, row, self.main.id);
            }
            if self.topics.get(id).is_some_and(|topic| !topic.unsent.is_empty()) {
                left.insert(id);
            }
        }
        self.unsent = left;
    }

    fn next_unsent(&mut self, id: TopicId) -> Option<Row<R>> {
        let now = self.now;
        let topic = self.topics.get_mut(id)?;
        // Asking for it lets it grow.
        topic.bound(now);
        let bytes = topic.unsent.front()?.1.bytes;
        if topic.has_room(bytes) { topic.unsent.pop_front().map(|(_, row)| row) } else { None }
    }

    pub(super) fn hand_over(&mut self, id: TopicId, row: Row<R>, producer: ProducerId) {
        let now = self.now;
        let Some(topic) = self.topics.get_mut(id) else { return };
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        topic.sent(ticket, row.bytes, now);
        let timestamp = !topic.without_timestamp;
        self.commands.push(Command::Send { producer, ticket, row: row.clone(), timestamp });
        self.flights.insert(ticket, Flight { row, topic: id, producer });
    }

    pub(super) fn delivered(&mut self, Delivery { ticket, result }: Delivery) {
        match result {
            Ok((partition, offset)) => {
                let Some(flight) = self.land(ticket) else { return };
                self.worked_at(flight.producer);
                self.acknowledged.push(Published { row: flight.row, partition, offset });
            }
            Err(refusal) => self.not_delivered(ticket, &refusal),
        }
    }

    /// The record is not in flight any more.
    pub(super) fn land(&mut self, ticket: Ticket) -> Option<Flight<R>> {
        let flight = self.flights.remove(&ticket)?;
        if let Some(topic) = self.topics.get_mut(flight.topic) {
            topic.landed(flight.row.bytes);
        }
        Some(flight)
    }

    fn not_delivered(&mut self, ticket: Ticket, refusal: &Refusal) {
        let Some(flight) = self.flights.get(&ticket) else { return };
        let (id, producer) = (flight.topic, flight.producer);
        if self.is_purging(producer) {
            // It stays in flight until the producer has ended, and is then read again with the others.
            return;
        }
        match refusal.meaning {
            RefusalMeaning::Record if refusal.by_client => self.refuse(ticket, &refusal.reason),
            RefusalMeaning::Record => self.refused_by_broker(ticket, id, producer, &refusal.reason),
            RefusalMeaning::Timestamp if self.topics.get(id).is_some_and(|topic| topic.without_timestamp) => {
                self.refused_by_broker(ticket, id, producer, &refusal.reason);
            }
            RefusalMeaning::Timestamp => {
                if let Some(topic) = self.topics.get_mut(id) {
                    topic.without_timestamp = true;
                    let notice =
                        Notice::WithoutTimestamps { topic: topic.name.clone(), why: refusal.reason.clone() };
                    self.say(notice);
                }
                self.purge(producer, &refusal.reason);
            }
            RefusalMeaning::Topic => {
                self.hold(id, Cause::Missing, &refusal.reason);
                if let Some(flight) = self.land(ticket) {
                    self.lanes.put_back(flight.row.lane, flight.row.seq);
                }
            }
            RefusalMeaning::Partition => self.give_up(id, &refusal.reason),
            RefusalMeaning::Producer => self.purge(producer, &refusal.reason),
        }
    }

    fn refuse(&mut self, ticket: Ticket, reason: &str) {
        if let Some(flight) = self.land(ticket) {
            self.refused.push((flight.row, reason.to_owned()));
        }
    }

    /// A refusal condemns the whole request: it blames a row only if it was alone, else half of them are tried.
    /// The producer has failed either way, for there is a gap now in what it numbered.
    fn refused_by_broker(&mut self, ticket: Ticket, id: TopicId, producer: ProducerId, reason: &str) {
        let now = self.now;
        let Some(topic) = self.topics.get_mut(id) else { return };
        if topic.was_alone(ticket) {
            topic.found_culprit();
            self.refuse(ticket, reason);
        } else {
            topic.halve(topic.bytes_in_flight, now);
            let why =
                format!("{reason}; smaller batches are tried beside the others, to find what is refused");
            self.hold(id, Cause::Refused, &why);
        }
        if let Some(work) = self.work_at(producer) {
            work.trouble_at = now;
        }
        self.purge(producer, reason);
    }

    /// Purges producers that hold records of a missing topic: one in flight would go before what was refused,
    /// should the topic come back.
    pub(super) fn purge_missing(&mut self) {
        let is_missing = |topic: &Topic<R>| topic.cause() == Some(Cause::Missing) && topic.in_flight > 0;
        let missing: Vec<TopicId> =
            self.topics.held().filter(|(_, topic)| is_missing(topic)).map(|(id, _)| id).collect();
        for id in missing {
            match self.side_of(id) {
                Some(place) => self.purge_side(place),
                None => {
                    self.purge_main("a topic is missing, or closed to us, of which messages are in flight")
                }
            }
        }
    }

    fn is_purging(&self, producer: ProducerId) -> bool {
        if self.main.id == producer {
            return self.main.purging;
        }
        self.sides.iter().find(|side| side.id == producer).is_none_or(|side| side.purging)
    }

    fn purge(&mut self, producer: ProducerId, why: &str) {
        if self.main.id == producer {
            self.purge_main(why);
        } else if let Some(place) = self.sides.iter().position(|side| side.id == producer) {
            self.purge_side(place);
        }
    }

    pub(super) fn purge_main(&mut self, why: &str) {
        if !std::mem::replace(&mut self.main.purging, true) {
            self.say(Notice::ProducerRenewed { why: why.to_owned() });
            self.commands.push(Command::Purge(self.main.id));
        }
    }

    /// A producer has ended: what it did not answer for is read again, or waits with its topic.
    pub(super) fn purged(&mut self, producer: ProducerId) {
        if self.main.id != producer {
            return self.side_purged(producer);
        }
        for row in self.take_flights(producer) {
            self.put_back_or_read_again(&row);
        }
        self.drop_unsent();
        if self.stopping {
            return;
        }
        self.main.id = self.new_producer();
        self.main.purging = false;
        self.look_now();
    }

    /// Takes out what the producer did not answer for, in order.
    pub(super) fn take_flights(&mut self, producer: ProducerId) -> Vec<Row<R>> {
        let of_producer = self.flights.iter().filter(|(_, flight)| flight.producer == producer);
        let tickets: Vec<Ticket> = of_producer.map(|(ticket, _)| *ticket).collect();
        tickets.into_iter().filter_map(|ticket| self.land(ticket)).map(|flight| flight.row).collect()
    }

    /// Rows that no producer has are read again after those that are.
    pub(super) fn drop_unsent(&mut self) {
        for id in std::mem::take(&mut self.unsent) {
            let rows = self.topics.get_mut(id).map(|topic| std::mem::take(&mut topic.unsent));
            for (_, row) in rows.into_iter().flatten() {
                self.put_back_or_read_again(&row);
            }
        }
    }

    fn put_back_or_read_again(&mut self, row: &Row<R>) {
        if self.topics.find(&row.topic).is_some_and(|id| self.topics.holds(id)) {
            self.lanes.put_back(row.lane, row.seq);
        } else {
            self.lanes.read_again(row.lane, row.seq);
        }
    }
}
