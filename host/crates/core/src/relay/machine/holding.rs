//! Topics: asking for those that are met, holding those that are in trouble, letting them go.

use std::sync::Arc;
use std::time::Duration;

use super::super::topics::{Cause, TopicId};
use super::super::{Command, Notice, Row};
use super::{CHECK_EVERY, RelayMachine};

/// Age of a topic's oldest row from which on the topic counts apart while room is short.
const SLOW_AFTER: Duration = Duration::from_millis(500);
/// The part of the publish timeout after which a topic is given up, before librdkafka does it record by record: a
/// later one of the partition might still go out.
const PATIENCE: f64 = 0.8;

impl<R: Clone> RelayMachine<R> {
    /// Topics that are met for the first time are asked for before anything is sent there. Rows of the page
    /// that has them are above `start`.
    pub(super) fn meet(&mut self, rows: &[Row<R>], start: i64) {
        let mut known: Option<&Arc<str>> = None;
        for row in rows {
            if known.is_some_and(|known| Arc::ptr_eq(known, &row.topic)) || row.unfit.is_some() {
                continue;
            }
            known = Some(&row.topic);
            if self.topics.find(&row.topic).is_none() {
                self.topics.meet(&row.topic, self.lanes.floors(start), self.now);
            }
        }
    }

    /// Takes in a row that is new to us; `seen` is the topic of the one before.
    pub(super) fn receive(&mut self, mut row: Row<R>, seen: &mut Option<(Arc<str>, TopicId)>) {
        if let Some(reason) = row.unfit.take() {
            self.refused.push((row, reason));
            return;
        }
        let known = seen.as_ref().filter(|(name, _)| Arc::ptr_eq(name, &row.topic)).map(|(_, id)| *id);
        let Some(id) = known.or_else(|| self.topics.find(&row.topic)) else {
            // Of a page that was not met; it is read again.
            return self.lanes.read_again(row.lane, row.seq);
        };
        *seen = Some((Arc::clone(&row.topic), id));
        if self.topics.holds(id) {
            return self.lanes.put_back(row.lane, row.seq);
        }
        let now = self.now;
        if let Some(topic) = self.topics.get_mut(id) {
            topic.unsent.push_back((now, row));
            self.unsent.insert(id);
        }
    }

    /// Has a topic's rows wait from now on.
    pub(super) fn hold(&mut self, id: TopicId, cause: Cause, why: &str) {
        let (lanes, start) = (&self.lanes, self.horizon.seq());
        self.topics.hold(id, (cause, why), self.now, || lanes.floors(start));
        let Some(topic) = self.topics.get_mut(id) else { return };
        if cause != Cause::Slow {
            self.unsent.remove(&id);
            for (_, row) in std::mem::take(&mut topic.unsent) {
                self.lanes.put_back(row.lane, row.seq);
            }
        }
        if cause.wants_side() && self.side_of(id).is_none() {
            self.side_queue.push(id, self.now);
        }
    }

    /// Says which topics' rows wait, and says it again while they do.
    pub(super) fn tell_of_holds(&mut self) {
        for (topic, why) in self.topics.due_words(self.now) {
            self.say(Notice::TopicWaits { topic, why: why.as_ref().to_owned() });
        }
    }

    pub(super) fn let_go(&mut self, id: TopicId) {
        let Some((floors, waited)) = self.topics.let_go(id, self.now) else { return };
        self.lanes.set_back_to(&floors);
        self.look_now();
        if let (Some(after), Some(topic)) = (waited, self.topics.get(id)) {
            let topic = Arc::clone(&topic.name);
            self.say(Notice::TopicGoesOn { topic, after });
        }
    }

    pub(super) fn start_asking(&mut self) {
        if self.asking.is_some() || self.stopping {
            return;
        }
        let due = self.topics.to_ask(self.now);
        if !due.is_empty() {
            self.asking = Some(due.clone());
            self.commands.push(Command::Ask(due));
        }
    }

    pub(super) fn asked(&mut self, answer: Result<Vec<Arc<str>>, String>) {
        for name in self.asking.take().into_iter().flatten() {
            let Some(id) = self.topics.find(&name) else { continue };
            if !matches!(self.topics.cause(id), Some(Cause::Unasked | Cause::Missing)) {
                continue;
            }
            match &answer {
                Err(why) => self.hold(id, Cause::Missing, why),
                Ok(missing) if missing.contains(&name) => {
                    self.hold(id, Cause::Missing, "the topic does not exist, or is closed to us; create it");
                }
                Ok(_) => self.let_go(id),
            }
        }
    }

    /// Tells whether anything grows old.
    pub(super) fn has_ages(&self) -> bool {
        !(self.flights.is_empty()
            && self.unsent.is_empty()
            && self.sides.is_empty()
            && self.side_queue.is_empty())
            || self.topics.held().any(|(_, topic)| topic.cause() == Some(Cause::Slow))
    }

    /// Finds topics of which nothing is acknowledged in time, and those that hold up others.
    pub(super) fn check_ages(&mut self) {
        if self.check_at > self.now || !self.has_ages() {
            return;
        }
        self.check_at = self.now + CHECK_EVERY;
        let patience = self.settings.publish_timeout.mul_f64(PATIENCE);
        let room = self.room();
        let is_short = room.rows < self.settings.in_flight_max.div_ceil(8)
            || room.bytes < self.settings.in_flight_bytes_max.div_ceil(8);
        let mut overdue = Vec::new();
        for (id, topic) in self.topics.iter_mut() {
            let sent = topic.oldest_sent(|ticket| self.flights.contains_key(ticket));
            let oldest = sent.into_iter().chain(topic.unsent.front().map(|(at, _)| *at)).min();
            let is_slow = oldest.is_some_and(|oldest| self.now.since(oldest) >= SLOW_AFTER);
            let is_overdue = sent.is_some_and(|sent| self.now.since(sent) >= patience);
            let change = match topic.cause() {
                _ if is_overdue => Age::Overdue,
                None if is_short && is_slow => Age::Slow,
                Some(Cause::Slow) if !is_slow => Age::Well,
                _ => continue,
            };
            overdue.push((id, change));
        }
        for (id, age) in overdue {
            match age {
                Age::Overdue => self.give_up(id, &format!("nothing was acknowledged for {patience:?}")),
                Age::Slow => self.hold(id, Cause::Slow, ""),
                Age::Well => self.let_go(id),
            }
        }
    }

    /// Ends the producer that has records of the topic, which waits until one is acknowledged.
    pub(super) fn give_up(&mut self, id: TopicId, what: &str) {
        let side = self.side_of(id);
        if side.and_then(|place| self.sides.get(place)).is_some_and(|side| side.purging) {
            return;
        }
        self.hold(id, Cause::Sick, &format!("{what}; one at a time is tried beside the others"));
        match side {
            Some(place) => {
                if let Some(work) = self.sides.get_mut(place).and_then(|side| side.work.as_mut()) {
                    work.gives_way = true;
                }
                self.purge_side(place);
            }
            None => {
                let topic = self.topics.get(id).map_or_else(String::new, |topic| topic.name.to_string());
                self.purge_main(&format!("topic {topic}: {what}"));
            }
        }
    }
}

/// Action that the age of a topic's records asks for.
#[derive(Debug, Clone, Copy)]
enum Age {
    Overdue,
    Slow,
    Well,
}
