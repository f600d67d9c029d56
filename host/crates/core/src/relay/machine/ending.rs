//! Giving lanes back, losing them, and the end.

use std::collections::BTreeSet;

use super::super::Command;
use super::super::topics::Cause;
use super::{Flight, RelayMachine};

impl<R: Clone> RelayMachine<R> {
    /// Gives back lanes that others are to have, once nothing of them is in hand or being looked at.
    pub(super) fn give_back(&mut self) {
        let looks = &self.looks;
        if looks.next_rows.is_some() || looks.due.is_some() || looks.aside.is_some() || self.stopping {
            return;
        }
        let closed = self.lanes.closed();
        if !closed.is_empty() {
            self.commands.push(Command::Release(closed));
        }
    }

    /// Drops what is known of a lane that is another's. What is in flight of it must not land after what its new
    /// owner publishes.
    pub(super) fn lose_lane(&mut self, lane: i32) {
        if !self.lanes.remove(lane) {
            return;
        }
        let of_lane = |flight: &&Flight<R>| flight.row.lane == lane;
        let producers: BTreeSet<_> =
            self.flights.values().filter(of_lane).map(|flight| flight.producer).collect();
        for (_, topic) in self.topics.iter_mut() {
            topic.unsent.retain(|(_, row)| row.lane != lane);
        }
        for work in self.sides.iter_mut().filter_map(|side| side.work.as_mut()) {
            work.queue.retain(|row| row.lane != lane);
        }
        for place in 0..self.sides.len() {
            if self.sides.get(place).is_some_and(|side| producers.contains(&side.id)) {
                self.purge_side(place);
            }
        }
        if producers.contains(&self.main.id) {
            self.purge_main(&format!("outbox lane {lane} is another host's now"));
        }
    }

    pub(super) fn begin_stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.drop_unsent();
        for place in 0..self.sides.len() {
            self.purge_side(place);
        }
    }

    /// Says when nothing is left that is worth waiting for: what is in flight to a topic in trouble is left to the
    /// next owner.
    pub(super) fn stop(&mut self) {
        if !self.stopping || self.stopped || self.marking.is_some() || self.has_marks() {
            return;
        }
        let in_trouble = |flight: &Flight<R>| {
            matches!(self.topics.cause(flight.topic), Some(Cause::Slow | Cause::Sick | Cause::Refused))
        };
        if self.flights.values().all(in_trouble) {
            self.stopped = true;
            self.commands.push(Command::Stopped);
        }
    }
}
