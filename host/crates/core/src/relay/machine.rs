//! The relay as a state machine: each event changes what is known, and starts what can be started then.

mod beside;
mod check;
mod ending;
mod holding;
mod looking;
mod marking;
mod scheduled;
mod sending;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::aside::{Side, SideQueue};
use super::horizon::Horizon;
use super::lane_cursor::{Lanes, LookNumber};
use super::poll_schedule::PollSchedule;
use super::topics::{TopicId, Topics};
use super::{Command, Event, Failure, MarkBatch, Notice, ProducerId, Published, Row, Settings, Tell, Ticket};
use crate::time::Moment;
use scheduled::DueSchedule;

/// Ages of records in flight are looked at this often.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// A record that a producer has not answered for.
#[derive(Debug, Clone)]
struct Flight<R> {
    row: Row<R>,
    topic: TopicId,
    producer: ProducerId,
}

/// The producer of all topics but those that are in trouble.
#[derive(Debug, Clone, Copy)]
struct MainProducer {
    id: ProducerId,
    /// True while it is being ended; another takes its place.
    purging: bool,
}

/// Rows, and the bytes that they take in memory.
#[derive(Debug, Clone, Copy, Default)]
struct Room {
    rows: usize,
    bytes: usize,
}

/// A look under way.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    number: LookNumber,
    began: Moment,
    rows_max: usize,
    /// The side producer that it is for, if any.
    side: Option<ProducerId>,
}

/// Looks under way, one of a kind at most.
#[derive(Debug, Clone, Copy, Default)]
struct Looks {
    begun: LookNumber,
    next_rows: Option<UnderWay>,
    due: Option<UnderWay>,
    aside: Option<UnderWay>,
    /// The last look that may have seen another table; earlier ones may have as well.
    void: LookNumber,
}

/// State of a host's relay. `R` is what a record consists of, which does not matter here.
#[derive(Debug, Clone)]
pub struct RelayMachine<R> {
    settings: Settings,
    now: Moment,
    lanes: Lanes,
    horizon: Horizon,
    topics: Topics<R>,
    schedule: PollSchedule,
    due: DueSchedule,
    looks: Looks,
    /// Bytes in memory of a row of the last page that had any.
    row_size: usize,
    /// The server that answered the last look.
    server: Option<i64>,
    /// The table may be another: nothing is read before what has ended is marked, and then everything is.
    begins_anew: bool,
    flights: BTreeMap<Ticket, Flight<R>>,
    /// Topics that have rows which no producer has.
    unsent: BTreeSet<TopicId>,
    next_ticket: usize,
    next_producer: u32,
    main: MainProducer,
    sides: Vec<Side<R>>,
    side_queue: SideQueue,
    acknowledged: Vec<Published<R>>,
    refused: Vec<(Row<R>, String)>,
    marking: Option<Arc<MarkBatch<R>>>,
    mark_after: Moment,
    asking: Option<Vec<Arc<str>>>,
    telling: bool,
    session_outlasts: bool,
    check_at: Moment,
    stopping: bool,
    stopped: bool,
    commands: Vec<Command<R>>,
}

impl<R: Clone> RelayMachine<R> {
    /// Makes a relay that owns no lane yet.
    pub fn new(settings: Settings, now: Moment, commands: &mut Vec<Command<R>>) -> Self {
        let id = ProducerId(0);
        commands.push(Command::Open(id));
        Self {
            settings,
            now,
            lanes: Lanes::default(),
            horizon: Horizon::default(),
            topics: Topics::default(),
            schedule: PollSchedule::new(now),
            due: DueSchedule::new(now),
            looks: Looks::default(),
            row_size: 0,
            server: None,
            begins_anew: false,
            flights: BTreeMap::new(),
            unsent: BTreeSet::new(),
            next_ticket: 0,
            next_producer: 1,
            main: MainProducer { id, purging: false },
            sides: Vec::new(),
            side_queue: SideQueue::default(),
            acknowledged: Vec::new(),
            refused: Vec::new(),
            marking: None,
            mark_after: now,
            asking: None,
            telling: false,
            session_outlasts: false,
            check_at: now,
            stopping: false,
            stopped: false,
            commands: Vec::new(),
        }
    }

    /// Takes an event, and adds what is to be done.
    pub fn on(&mut self, event: Event<R>, now: Moment, commands: &mut Vec<Command<R>>) {
        self.now = now;
        std::mem::swap(&mut self.commands, commands);
        self.take(event);
        self.check_ages();
        self.step_sides();
        self.send();
        self.start_mark();
        self.read_anew();
        self.tell_of_holds();
        self.start_asking();
        self.start_look();
        self.start_look_due();
        self.give_back();
        self.stop();
        std::mem::swap(&mut self.commands, commands);
    }

    /// Returns when to send [`Event::TimerDue`] though nothing happens. Never at once: what is due and cannot
    /// be done yet waits for something to happen.
    #[must_use]
    pub fn next_timer(&self, now: Moment) -> Moment {
        let may_look = self.may_look();
        let times = [
            (may_look && self.looks.next_rows.is_none()).then(|| self.schedule.next_look()),
            if may_look && self.looks.due.is_none() { self.due.next_look() } else { None },
            (self.marking.is_none() && self.has_marks()).then_some(self.mark_after),
            if self.asking.is_none() { self.topics.next_ask() } else { None },
            self.has_ages().then_some(self.check_at),
        ];
        let first = times.into_iter().flatten().min();
        first.map_or(now + self.settings.poll_max, |at| at.max(now + self.settings.poll_min))
    }

    fn take(&mut self, event: Event<R>) {
        match event {
            Event::LaneTaken(lane) => {
                self.topics.lower(lane, 0);
                self.lanes.add(lane);
                self.look_now();
            }
            Event::LaneWanted(lane) => self.lanes.close(lane),
            Event::LaneLost(lane) => self.lose_lane(lane),
            Event::LaneTouched(lane) => {
                self.topics.lower(lane, 0);
                self.lanes.reread(lane);
                self.look_now();
            }
            Event::Woken => {
                self.schedule.woken(self.now);
                self.due.ask_now(self.now);
            }
            Event::SessionOutlasts(outlasts) => self.session_outlasts = outlasts,
            Event::Looked(looked) => self.looked(looked),
            Event::LookedDue(looked) => self.looked_due(looked),
            Event::LookedAside(looked) => self.looked_aside(looked),
            Event::Delivered(deliveries) => {
                deliveries.into_iter().for_each(|delivery| self.delivered(delivery));
                self.purge_missing();
            }
            Event::Purged(producer) => self.purged(producer),
            Event::Marked(marked) => self.marked(marked),
            Event::Asked(answer) => self.asked(answer),
            Event::Told(told) => self.told(told),
            Event::TimerDue => {}
            Event::Stop => self.begin_stop(),
        }
    }

    /// Tells whether rows may be read. Between a purge and its end none may: what is purged goes first.
    fn may_look(&self) -> bool {
        !(self.lanes.is_empty() || self.stopping || self.main.purging || self.begins_anew)
    }

    fn look_now(&mut self) {
        self.schedule.look_now(self.now);
        self.due.ask_now(self.now);
    }

    fn told(&mut self, told: Result<Tell, Failure>) {
        self.telling = false;
        match told {
            Ok(tell) => self.schedule.told(tell, self.now),
            // The next look tries it again.
            Err(failure) => self.schedule.look_after(failure.wait, self.now),
        }
    }

    fn start_telling(&mut self) {
        if self.telling || self.stopping {
            return;
        }
        if let Some(tell) = self.schedule.tell(&self.settings, self.now) {
            self.telling = true;
            self.commands.push(Command::Tell(tell));
        }
    }

    fn say(&mut self, notice: Notice) {
        self.commands.push(Command::Say(notice));
    }

    fn new_producer(&mut self) -> ProducerId {
        let id = ProducerId(self.next_producer);
        self.next_producer = self.next_producer.wrapping_add(1);
        self.commands.push(Command::Open(id));
        id
    }

    /// Numbers a look that begins; rows that ended before the oldest one began are forgotten.
    fn number_look(&mut self) -> LookNumber {
        let looks = &mut self.looks;
        looks.begun += 1;
        let under_way = [looks.next_rows, looks.due, looks.aside];
        let oldest = under_way.iter().flatten().map(|look| look.number).min();
        self.lanes.forget_ended(oldest.unwrap_or(looks.begun));
        looks.begun
    }

    /// Returns how much may be read that is new: what waits for held topics counts apart, as much again.
    fn room(&self) -> Room {
        let apart = self.apart();
        let beside = self.room_beside();
        let rows = self.lanes.in_hand().saturating_sub(apart.rows);
        let bytes = self.lanes.bytes_in_hand().saturating_sub(apart.bytes);
        Room {
            rows: self.settings.in_flight_max.saturating_sub(rows).min(beside.rows),
            bytes: self.settings.in_flight_bytes_max.saturating_sub(bytes).min(beside.bytes),
        }
    }

    /// Returns the rows and bytes that wait for held topics.
    fn apart(&self) -> Room {
        let queued = self.sides.iter().flat_map(|side| &side.work).flat_map(|work| &work.queue);
        let unsent = self.topics.held().flat_map(|(_, topic)| &topic.unsent).map(|(_, row)| row);
        let rows_of =
            |apart: Room, row: &Row<R>| Room { rows: apart.rows + 1, bytes: apart.bytes + row.memory };
        let apart = queued.chain(unsent).fold(Room::default(), rows_of);
        if self.topics.held().all(|(_, topic)| topic.in_flight == 0) {
            return apart;
        }
        let in_flight = self.flights.values().filter(|flight| self.topics.holds(flight.topic));
        in_flight.map(|flight| &flight.row).fold(apart, rows_of)
    }

    /// Returns how much may be read of topics that are in trouble, which count with all that is in hand.
    fn room_beside(&self) -> Room {
        Room {
            rows: (2 * self.settings.in_flight_max).saturating_sub(self.lanes.in_hand()),
            bytes: self
                .settings
                .in_flight_bytes_max
                .saturating_mul(2)
                .saturating_sub(self.lanes.bytes_in_hand()),
        }
    }

    /// Returns the bytes that a look may bring which has room for so many new ones: known rows come with
    /// them.
    fn look_bytes(&self, new_max: usize) -> usize {
        self.lanes.bytes_in_hand().saturating_add(new_max)
    }

    /// Returns the number of rows that a look asks for: about as many as fit, since what does not costs its
    /// connection.
    fn rows_fitting(&self, room: Room) -> usize {
        let fitting = room.bytes.checked_div(self.row_size).map_or(usize::MAX, |rows| rows.max(1));
        self.settings.batch_rows_max.min(room.rows).min(fitting).max(1)
    }

    fn note_size(&mut self, rows: &[Row<R>]) {
        let bytes = rows.iter().map(|row| row.memory).sum::<usize>();
        self.row_size = bytes.checked_div(rows.len()).unwrap_or(self.row_size);
    }
}

impl Room {
    fn is_none(self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    /// Takes a row, which may exceed the bytes; `false` where there is no room.
    fn take(&mut self, memory: usize) -> bool {
        let has_room = !self.is_none();
        if has_room {
            self.rows -= 1;
            self.bytes = self.bytes.saturating_sub(memory);
        }
        has_room
    }
}

#[cfg(test)]
mod tests;
