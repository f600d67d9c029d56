//! Network between producers and brokers: requests under way, their answers, and what clients make of them.

use std::sync::Arc;

use mailroom_core::relay::{Delivery, Event, ProducerId, RefusalMeaning, Ticket};

use super::RelayWorld;
use super::broker::{Answer, Batch, Place, Record};
use super::client::{Client, at_the_end, refusal};
use super::event_loop::Step;
use super::host::Host;
use super::setup::PUBLISH_TIMEOUT;
use super::store::Flaw;

/// A request under way. It outlives its producer.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    host: usize,
    lives: u32,
    producer: ProducerId,
    batch: Batch,
    tickets: Vec<Ticket>,
    /// Time after which it is not taken.
    pub(super) until: u64,
    /// The broker's answer, on its way.
    answer: Option<Answer>,
}

/// A question for topics under way.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(super) host: usize,
    pub(super) lives: u32,
    pub(super) topics: Vec<Arc<str>>,
}

impl RelayWorld {
    /// Returns what clients of a host can do.
    pub(super) fn client_work(&self, index: usize, host: &Host) -> Vec<super::Doing> {
        let mut enabled = Vec::new();
        for id in host.clients.purging.keys() {
            enabled.push(super::Doing::Purge(index, *id));
        }
        for (id, client) in &host.clients.all {
            if client.expires_at().is_some_and(|at| at <= self.now) {
                enabled.push(super::Doing::Expire(index, *id));
                continue;
            }
            if client.fatal {
                if !client.open.is_empty() {
                    enabled.push(super::Doing::Expire(index, *id));
                }
                continue;
            }
            for (place, queue) in client.queues.iter().filter(|(_, queue)| !queue.unsent.is_empty()) {
                let Some(topic) = self.kafka.topics.get(place.0) else { continue };
                let may = if topic.missing { queue.requests == 0 } else { self.may_request(queue.requests) };
                if may && !topic.leaderless && host.kafka_cut_until <= self.now {
                    enabled.push(super::Doing::Request(index, *id, *place));
                }
            }
        }
        enabled
    }

    fn may_request(&self, under_way: usize) -> bool {
        under_way < self.setup.requests_max
    }

    /// A client sends what it has of a partition, or hears that the topic is not there.
    pub(super) fn request(&mut self, index: usize, producer: ProducerId, place: Place) {
        let drawn = self.chance(6);
        let now = self.now;
        let Some(topic) = self.kafka.topics.get(place.0) else { return };
        let (missing, incarnation) = (topic.missing, topic.incarnation);
        let Some(host) = self.hosts.get_mut(index) else { return };
        let Some(client) = host.clients.all.get_mut(&producer) else { return };
        let Some(queue) = client.queues.get_mut(&place) else { return };
        if missing {
            for record in std::mem::take(&mut queue.unsent) {
                client.open.remove(&record.ticket);
                host.clients.answers.push_back(refusal(record.ticket, RefusalMeaning::Topic, false));
            }
            return;
        }
        let count = usize::try_from(drawn + 1).unwrap_or(1).min(queue.unsent.len());
        let records: Vec<_> = queue.unsent.drain(..count).collect();
        let sequence = queue.next;
        queue.next += u64::try_from(count).unwrap_or(0);
        queue.requests += 1;
        let until = records.iter().map(|record| record.at + PUBLISH_TIMEOUT).min().unwrap_or(now);
        let tickets = records.iter().map(|record| record.ticket).collect();
        let record = |handed: &super::client::Handed| Record {
            id: handed.row.record.id,
            bytes: handed.row.bytes,
            timestamp: handed.timestamp,
            poison: handed.row.record.flaw == Flaw::Poison,
        };
        let records = records.iter().map(record).collect();
        let batch = Batch { pid: client.pid, place, sequence, incarnation, records };
        self.requests.push(Request {
            host: index,
            lives: host.lives,
            producer,
            batch,
            tickets,
            until,
            answer: None,
        });
    }

    /// The client that sent a request, unless it is gone.
    fn sender(&mut self, request: &Request) -> Option<&mut Client> {
        let host = self.hosts.get_mut(request.host).filter(|host| host.lives == request.lives)?;
        let clients = &mut host.clients;
        clients.all.get_mut(&request.producer).or_else(|| clients.purging.get_mut(&request.producer))
    }

    /// Tells whether a request can be served, answered or forgotten now.
    pub(super) fn can_go_on(&self, at: usize, request: &Request) -> bool {
        let host = self.hosts.get(request.host).filter(|host| host.lives == request.lives);
        let is_there = host.is_some_and(|host| {
            let clients = &host.clients;
            clients.all.contains_key(&request.producer) || clients.purging.contains_key(&request.producer)
        });
        if request.answer.is_some() {
            return !is_there || host.is_some_and(|host| !host.frozen && host.kafka_cut_until <= self.now);
        }
        if request.until <= self.now {
            return true;
        }
        let is_cut = host.is_some_and(|host| host.kafka_cut_until > self.now);
        let is_served = self.kafka.topics.get(request.batch.place.0).is_some_and(|topic| !topic.leaderless);
        let mut before = self.requests.iter().take(at);
        let is_next = before.all(|other| {
            other.answer.is_some()
                || (other.batch.pid, other.batch.place) != (request.batch.pid, request.batch.place)
        });
        !is_cut && is_served && is_next
    }

    /// A broker serves a request, or its client hears the answer, or it is forgotten.
    pub(super) fn go_on(&mut self, at: usize) {
        let Some(request) = self.requests.get(at).cloned() else { return };
        if let Some(answer) = request.answer {
            self.requests.remove(at);
            self.answer(&request, answer);
            return;
        }
        if request.until <= self.now {
            self.requests.remove(at);
            return;
        }
        let (answer, is_new) = self.kafka.serve(&request.batch);
        let ids: Vec<u64> = request.batch.records.iter().map(|record| record.id).collect();
        self.history.note(|| {
            let topic = self.setup.topics.get(request.batch.place.0).map_or("", |topic| topic);
            let place = format!("{topic}/{}", request.batch.place.1);
            format!("Kafka, of h{} p{}, for {place}: {ids:?} → {answer:?}", request.host, request.producer.0)
        });
        match answer {
            Answer::At(offset) if is_new => self.appended(request.batch.place, offset, &ids),
            Answer::At(_) => self.coverage.count_relay("kafka again"),
            Answer::Refused(RefusalMeaning::Record | RefusalMeaning::Timestamp) => {
                if let [id] = ids.as_slice() {
                    self.oracle.refused_alone.insert(*id);
                }
            }
            Answer::Refused(_) | Answer::Retry => {}
        }
        if self.sender(&request).is_none() {
            self.coverage.count_relay("kafka late");
        }
        if let Some(request) = self.requests.get_mut(at).filter(|_| answer != Answer::Retry) {
            request.answer = Some(answer);
        }
    }

    fn answer(&mut self, request: &Request, answer: Answer) {
        let Some(client) = self.sender(request) else { return };
        if let Some(queue) = client.queues.get_mut(&request.batch.place) {
            queue.requests = queue.requests.saturating_sub(1);
        }
        let mut answers: Vec<Delivery> = Vec::new();
        for (ticket, place) in request.tickets.iter().zip(0_i64..) {
            if client.open.remove(ticket).is_none() {
                continue;
            }
            answers.push(match answer {
                Answer::At(offset) => {
                    let partition = i32::try_from(request.batch.place.1).unwrap_or(0);
                    Delivery { ticket: *ticket, result: Ok((partition, offset + place)) }
                }
                Answer::Refused(meaning) => refusal(*ticket, meaning, false),
                Answer::Retry => refusal(*ticket, RefusalMeaning::Partition, false),
            });
        }
        // A gap is the end of an idempotent producer.
        client.fatal |= !matches!(answer, Answer::At(_));
        if let Some(host) = self.hosts.get_mut(request.host) {
            host.clients.answers.extend(answers);
        }
    }

    /// A request, or its answer, is lost: the client sends it again.
    pub(super) fn lose_request(&mut self) {
        let under_way: Vec<usize> = (0..self.requests.len()).collect();
        if let Some(at) = self.choices.pick(&under_way)
            && let Some(request) = self.requests.get_mut(at)
        {
            let ids: Vec<u64> = request.batch.records.iter().map(|record| record.id).collect();
            let what = if request.answer.take().is_some() { "the answer to" } else { "a request with" };
            self.history.note(|| format!("{what} {ids:?} is lost, and it is sent again"));
        }
    }

    /// A client that failed, or whose records are too old, answers for all that it has.
    pub(super) fn expire(&mut self, index: usize, producer: ProducerId) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(index) else { return };
        let Some(client) = host.clients.all.get_mut(&producer) else { return };
        client.fatal = true;
        let answers = client.refuse_all(at_the_end(now));
        host.clients.answers.extend(answers);
    }

    /// A client has ended: all its answers are there.
    pub(super) fn purge(&mut self, index: usize, producer: ProducerId) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        if let Some(mut client) = host.clients.purging.remove(&producer) {
            let answers = client.refuse_all(|_| RefusalMeaning::Producer);
            host.clients.answers.extend(answers);
        }
        host.clients.purged.push_back(producer);
    }

    /// Kafka says which of the topics it does not have, or nothing.
    pub(super) fn answer_ask(&mut self, at: usize) {
        let ask = self.asks.remove(at);
        let Some(host) = self.hosts.get(ask.host) else { return };
        if host.lives != ask.lives || !host.relays() {
            return;
        }
        let answer = if host.kafka_cut_until > self.now {
            Err("no answer".to_owned())
        } else {
            let is_missing = |name: &Arc<str>| {
                let place = self.setup.topics.iter().position(|topic| topic == name);
                place.and_then(|place| self.kafka.topics.get(place)).is_none_or(|topic| topic.missing)
            };
            Ok(ask.topics.into_iter().filter(is_missing).collect())
        };
        self.turn(ask.host, Step::Event(Event::Asked(answer)));
    }
}
