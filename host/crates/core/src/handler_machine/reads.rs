//! Reading rows, while there is room.

use std::ops::Bound::{Excluded, Unbounded};

use super::HandlerMachine;
use super::command::{Command, ReadId};
use super::event::{DueKeys, Failure, Outcome, RowsRead, StandingPage};
use crate::ids::{LaneId, Lease};
use crate::lane::{Lane, ReadBounds, Source, Weight};
use crate::time::Moment;

/// Reads of a handler at once: each has a connection.
const READS_MAX: usize = 4;
/// Pages, by their bytes, that memory has room for.
const PAGES: usize = 8;

impl<S: Clone, E: Clone> HandlerMachine<S, E> {
    /// Begins reads: at most one a lane, lanes by turns.
    pub(super) fn plan_reads(&mut self, now: Moment) {
        let reads = self.lanes.values().filter(|lane| lane.reads()).count();
        let mut free = READS_MAX.saturating_sub(reads);
        if free == 0 || !self.may_ask(now) {
            return;
        }
        let behind = self.lanes.range((Excluded(self.read_last), Unbounded)).map(|(id, _)| *id);
        let ids: Vec<LaneId> = behind.chain(self.lanes.range(..=self.read_last).map(|(id, _)| *id)).collect();
        let mut room = self.room();
        let (page_bytes, size) = ((self.settings.in_hand_bytes_max / PAGES).max(1), self.read_size);
        for id in ids {
            if free == 0 {
                return;
            }
            let read = ReadId(self.next_id);
            let page = self.settings.batch_rows_max;
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let of_page = fitting(Weight { bytes: room.bytes.min(page_bytes), ..room }, size);
            let bounds = ReadBounds { room: of_page, page, write_due: lane.write_due(now) > 0 };
            let Some(command) = lane.plan_read(read, bounds, now) else { continue };
            self.next_id += 1;
            self.read_last = id;
            free -= 1;
            room = room - lane.in_flight.read.map_or(Weight::default(), |read| read.reserved);
            if let Command::Read(read) = &command {
                self.reads.insert(read.read, read.clone());
            }
            self.commands.push(command);
        }
    }

    /// Gives how much more may be read. Three quarters of memory are the most, so that neither what is read nor what is
    /// polled can starve the other.
    fn room(&self) -> Weight {
        let reserved = self.lanes.values().filter_map(|lane| lane.in_flight.read).map(|read| read.reserved);
        let read = reserved.fold(self.weight(Source::Read), |sum, reserved| sum + reserved);
        let polled = self.weight(Source::Polled);
        let (messages_max, bytes_max) = (self.settings.in_hand_max, self.settings.in_hand_bytes_max);
        let share = |of: usize| (of - of / 4).max(1);
        let by_share = share(messages_max).saturating_sub(read.messages);
        let in_all = messages_max.saturating_sub(read.messages + polled.messages);
        // Its own share is never less than a quarter, however much was polled.
        let messages = by_share.min(in_all.max((messages_max / 4).saturating_sub(read.messages)));
        Weight { messages, bytes: share(bytes_max).saturating_sub(read.bytes) }
    }

    pub(super) fn standing(&mut self, lease: Lease, outcome: Outcome<StandingPage>, now: Moment) {
        let lane = self.lanes.get_mut(&lease.lane).filter(|lane| lane.lease == lease);
        let Some(lane) = lane else { return };
        lane.in_flight.own = false;
        match outcome {
            Outcome::Done(page) => {
                self.postgres.over();
                if matches!(lane.phase, crate::lane::Phase::Opening { .. }) {
                    lane.standing(page, now);
                }
            }
            Outcome::NotDone(_) | Outcome::Unknown => self.postgres.failed(now),
        }
    }

    pub(super) fn rows_read(&mut self, lease: Lease, id: ReadId, outcome: Outcome<RowsRead>, now: Moment) {
        let Some(read) = self.reads.remove(&id) else { return };
        let Some(lane) = read_of(self.lanes.get_mut(&lease.lane), lease, id) else { return };
        match outcome {
            Outcome::Done(rows) => {
                self.postgres.over();
                let bytes = rows.rows.iter().map(|row| row.message.bytes()).sum::<usize>();
                self.read_size = bytes.checked_div(rows.rows.len()).unwrap_or(self.read_size);
                lane.rows_read(&read.what, rows, now);
            }
            // It changes nothing, so it is tried again; what it was about is still to be read.
            Outcome::NotDone(Failure::Away | Failure::TooMuch) | Outcome::Unknown => {
                self.postgres.failed(now)
            }
        }
    }

    pub(super) fn due_found(&mut self, lease: Lease, id: ReadId, outcome: Outcome<DueKeys>, now: Moment) {
        let Some(lane) = read_of(self.lanes.get_mut(&lease.lane), lease, id) else { return };
        match outcome {
            Outcome::Done(found) => {
                self.postgres.over();
                lane.due_found(found, now);
            }
            Outcome::NotDone(Failure::Away | Failure::TooMuch) | Outcome::Unknown => {
                lane.due.next = Some(now);
                self.postgres.failed(now);
            }
        }
    }
}

/// Gives the room as far as messages of this size fit in: what does not costs the read its connection.
fn fitting(room: Weight, size: usize) -> Weight {
    if room.bytes == 0 {
        return Weight::default();
    }
    Weight { messages: room.messages.min((room.bytes / size.max(1)).max(1)), ..room }
}

/// Gives the lane whose read has ended, where it is still that lane and works.
fn read_of<S: Clone, E: Clone>(
    lane: Option<&mut Lane<S, E>>,
    lease: Lease,
    id: ReadId,
) -> Option<&mut Lane<S, E>> {
    let lane = lane.filter(|lane| lane.lease == lease)?;
    if lane.in_flight.read.is_some_and(|read| read.id == id) {
        lane.in_flight.read = None;
    }
    (lane.phase == crate::lane::Phase::Working).then_some(lane)
}
