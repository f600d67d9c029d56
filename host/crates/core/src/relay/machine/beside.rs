//! Topics in trouble, at producers of their own. One that is sick tries one row until one is acknowledged; then,
//! and where rows were refused in company, groups follow one another: all of a group is answered before the next
//! begins, so that a group of one is surely alone. A look there begins at the lanes' starts: it is rare, and needs
//! no horizon.

use std::time::Duration;

use super::super::aside::{SIDES_MAX, Side, Work};
use super::super::topics::{Cause, TopicId};
use super::super::{AsidePage, Command, Failure, LookAside, Notice, ProducerId, Row};
use super::{RelayMachine, UnderWay};

/// Time without trouble after which the topic goes back to the producer of all.
const QUIET: Duration = Duration::from_secs(5);
/// A topic that was given up waits so long for its next turn.
const NEXT_TURN: Duration = Duration::from_millis(500);

impl<R: Clone> RelayMachine<R> {
    /// The topic at this side producer.
    pub(super) fn work_at(&mut self, producer: ProducerId) -> Option<&mut Work<R>> {
        self.sides.iter_mut().find(|side| side.id == producer)?.work.as_mut()
    }

    /// The place of the side producer that has the topic.
    pub(super) fn side_of(&self, id: TopicId) -> Option<usize> {
        self.sides.iter().position(|side| side.work.as_ref().is_some_and(|work| work.topic == id))
    }

    /// Something was acknowledged there, perhaps the last of its group.
    pub(super) fn worked_at(&mut self, producer: ProducerId) {
        let Some(side) = self.sides.iter_mut().find(|side| side.id == producer) else { return };
        let Some(work) = side.work.as_mut() else { return };
        work.works = true;
        if let Some(topic) =
            self.topics.get_mut(work.topic).filter(|topic| topic.in_flight == 0 && !side.purging)
        {
            topic.passed();
        }
    }

    pub(super) fn step_sides(&mut self) {
        if self.stopping || self.sides.is_empty() && self.side_queue.is_empty() {
            return;
        }
        while self.sides.len() < SIDES_MAX && self.sides.iter().all(|side| side.work.is_some()) {
            let Some(work) = self.next_work() else { break };
            let id = self.new_producer();
            self.sides.push(Side { id, purging: false, work: Some(work) });
        }
        for place in 0..self.sides.len() {
            self.step_side(place);
        }
    }

    fn next_work(&mut self) -> Option<Work<R>> {
        let topics = &self.topics;
        self.side_queue.retain(|id| topics.cause(id).is_some_and(Cause::wants_side));
        // What the producer of all has of it must have ended.
        let id =
            self.side_queue.pop(self.now, |id| topics.get(id).is_some_and(|topic| topic.in_flight == 0))?;
        Some(Work::new(id, self.now))
    }

    fn step_side(&mut self, place: usize) {
        let Some(side) = self.sides.get(place) else { return };
        let producer = side.id;
        if side.purging {
            return;
        }
        let Some(work) = &side.work else {
            let next = self.next_work();
            match self.sides.get_mut(place) {
                Some(side) if next.is_some() => side.work = next,
                _ => self.purge_side(place),
            }
            return;
        };
        let Some(topic) = self.topics.get_mut(work.topic) else { return };
        if topic.in_flight > 0 {
            return;
        }
        let id = work.topic;
        let is_quiet = work.works && self.now.since(work.trouble_at) >= QUIET;
        let is_done =
            work.queue.is_empty() && (work.exhausted || work.works && topic.cause() == Some(Cause::Sick));
        match topic.cause() {
            Some(Cause::Sick | Cause::Refused) if is_quiet || is_done => {
                self.leave_side(place);
                self.let_go(id);
            }
            Some(Cause::Sick | Cause::Refused) if work.queue.is_empty() => self.start_look_aside(place),
            Some(Cause::Sick | Cause::Refused) => self.send_group(place, producer),
            // It is missing meanwhile, and asked for.
            _ => self.leave_side(place),
        }
    }

    /// Takes the topic from its side producer, which has nothing of it in flight.
    fn leave_side(&mut self, place: usize) {
        let work = self.sides.get_mut(place).and_then(|side| side.work.take());
        for row in work.into_iter().flat_map(|work| work.queue) {
            self.lanes.put_back(row.lane, row.seq);
        }
    }

    fn send_group(&mut self, place: usize, producer: ProducerId) {
        if !self.session_outlasts {
            return;
        }
        loop {
            let Some(work) = self.sides.get_mut(place).and_then(|side| side.work.as_mut()) else { return };
            let (id, now) = (work.topic, self.now);
            let Some(topic) = self.topics.get_mut(id) else { return };
            let tries_one = topic.cause() == Some(Cause::Sick) && !work.works;
            topic.bound(now);
            let may = |row: &Row<R>| topic.in_flight == 0 || !tries_one && topic.has_room(row.bytes);
            if !work.queue.front().is_some_and(may) {
                return;
            }
            let Some(row) = work.queue.pop_front() else { return };
            self.hand_over(id, row, producer);
        }
    }

    fn start_look_aside(&mut self, place: usize) {
        let Some((side, work)) = self.sides.get(place).and_then(|side| Some((side, side.work.as_ref()?)))
        else {
            return;
        };
        let Some(topic) = self.topics.get(work.topic) else { return };
        if self.looks.aside.is_some() || self.lanes.is_empty() || self.begins_anew {
            return;
        }
        let tries_one = topic.cause() == Some(Cause::Sick) && !work.works;
        // What was acknowledged here and cannot be marked counts with all that is in hand.
        let room = self.room_beside();
        if room.is_none() {
            return;
        }
        let new_max = if tries_one { 1 } else { self.rows_fitting(room) };
        let (topic, side) = (topic.name.clone(), Some(side.id));
        let number = self.number_look();
        let starts = self.lanes.begin_aside(new_max);
        let rows_max = new_max + starts.known;
        self.looks.aside = Some(UnderWay { number, began: self.now, rows_max, side });
        let (lanes, bounds) = (starts.lanes, starts.bounds);
        let bytes_max = self.look_bytes(room.bytes);
        self.commands.push(Command::LookAside(LookAside { topic, lanes, bounds, rows_max, bytes_max }));
    }

    pub(super) fn looked_aside(&mut self, looked: Result<AsidePage<R>, Failure>) {
        let Some(look) = self.looks.aside.take() else { return };
        let page = match looked {
            Ok(page) if look.number > self.looks.void => page,
            Ok(_) | Err(_) => return,
        };
        if page.server.is_some_and(|server| self.notice_server(server)) {
            return self.begin_anew(Notice::AnotherServer, self.horizon.drawn());
        }
        // Where the topic has left its producer meanwhile nothing was taken, and nothing is lost.
        let place = self.sides.iter().position(|side| Some(side.id) == look.side && !side.purging);
        let Some(place) = place else { return };
        let (mut fit, mut refused, mut room) = (Vec::new(), Vec::new(), self.room_beside());
        let mut is_cut = page.is_cut;
        for mut row in page.rows {
            if !self.lanes.read_aside(row.lane, (row.seq, row.memory), look.number) {
                continue;
            }
            if !room.take(row.memory) {
                self.lanes.put_back(row.lane, row.seq);
                is_cut = true;
                continue;
            }
            match row.unfit.take() {
                Some(reason) => refused.push((row, reason)),
                None => fit.push(row),
            }
        }
        self.refused.append(&mut refused);
        match self.sides.get_mut(place).and_then(|side| side.work.as_mut()) {
            Some(work) => {
                work.exhausted = fit.is_empty() && !is_cut;
                work.queue.extend(fit);
            }
            None => fit.iter().for_each(|row| self.lanes.put_back(row.lane, row.seq)),
        }
    }

    pub(super) fn purge_side(&mut self, place: usize) {
        if let Some(side) = self.sides.get_mut(place)
            && !std::mem::replace(&mut side.purging, true)
        {
            self.commands.push(Command::Purge(side.id));
        }
    }

    /// A side producer has ended: what it did not answer for goes first at the next, or waits for its turn.
    pub(super) fn side_purged(&mut self, producer: ProducerId) {
        let Some(place) = self.sides.iter().position(|side| side.id == producer) else { return };
        let rows = self.take_flights(producer);
        let mut side = self.sides.swap_remove(place);
        let Some(mut work) = side.work.take() else { return };
        for row in rows.into_iter().rev() {
            work.queue.push_front(row);
        }
        if self.stopping || work.gives_way {
            work.queue.iter().for_each(|row| self.lanes.put_back(row.lane, row.seq));
            if self.topics.cause(work.topic).is_some_and(Cause::wants_side) {
                self.side_queue.push(work.topic, self.now + NEXT_TURN);
            }
            return;
        }
        let id = self.new_producer();
        self.sides.push(Side { id, purging: false, work: Some(work) });
    }
}
