//! Looks at the next rows, and what they bring.
//!
//! Each look tells which server answered: connections are made anew silently, and a sequence that fell back may have
//! been drawn past again. Where it is a server that was started at another time, or the sequence is lower, nothing in
//! hand is believed: producers are purged, what was acknowledged is marked by its ids, and everything is read anew.

use std::time::Duration;

use super::super::horizon::{Horizon, STRAGGLERS_MAX};
use super::super::lane_cursor::{LookNumber, Looked, Starts};
use super::super::{Command, Failure, Look, Notice, Page, Row};
use super::{RelayMachine, UnderWay};

impl<R: Clone> RelayMachine<R> {
    pub(super) fn start_look(&mut self) {
        if self.looks.next_rows.is_some() || !self.may_look() {
            return;
        }
        let with_more = self.lanes.with_more();
        let slack = if with_more > 0 { self.settings.poll_min } else { Duration::ZERO };
        if self.schedule.next_look() > self.now + slack {
            return;
        }
        let room = self.room();
        if room.is_none() {
            return;
        }
        self.schedule.begin_look();
        let new_max = self.rows_fitting(room);
        let lane_rows_max = (new_max / with_more.max(8)).max(1);
        let number = self.number_look();
        let Starts { lanes, late, bounds, known } = self.lanes.begin_look(self.horizon.seq(), lane_rows_max);
        let (stragglers, floors) = self.horizon.stragglers();
        let rows_max = new_max + known;
        self.looks.next_rows = Some(UnderWay { number, began: self.now, rows_max, side: None });
        let schedule = self.due.asks(self.now);
        self.commands.push(Command::Look(Look {
            lanes,
            late,
            bounds,
            without: self.topics.held_names(),
            rows_max,
            bytes_max: self.look_bytes(room.bytes),
            stragglers,
            floors,
            sample: self.horizon.wants_sample(self.now),
            open_below: self.horizon.asks_below(),
            // One more tells that they are too many.
            open_max: i64::try_from(STRAGGLERS_MAX + 1).unwrap_or(i64::MAX),
            schedule,
        }));
    }

    pub(super) fn looked(&mut self, looked: Result<Page<R>, Failure>) {
        let Some(look) = self.looks.next_rows.take() else { return };
        let page = match looked {
            Ok(page) => page,
            Err(failure) => return self.look_failed(failure),
        };
        if look.number <= self.looks.void {
            return self.look_now();
        }
        let (from, to) = (self.horizon.drawn(), page.snapshot.last_seq);
        let is_other = self.notice_server(page.snapshot.server);
        if to < from {
            return self.begin_anew(Notice::SequenceFellBack { from, to }, to);
        }
        if is_other {
            return self.begin_anew(Notice::AnotherServer, to);
        }
        let before = self.horizon.seq();
        let floor = self.horizon.seen(&page.snapshot, self.now);
        if let Some(floor) = floor {
            self.topics.lower_all(floor);
        }
        self.meet(&page.rows, before.min(floor.unwrap_or(i64::MAX)));
        let is_cut = page.is_cut || page.rows.len() >= look.rows_max;
        let cut_at = page.rows.last().filter(|_| is_cut).map(|row| row.seq);
        self.note_size(&page.rows);
        let fresh = self.take_next(page.rows, look.number);
        self.lanes.looked(Looked { cut_at, last_seq: page.snapshot.last_seq, floor });
        self.schedule.looked(fresh, self.lanes.with_more() > 0, &self.settings, self.now);
        self.due.answered(page.next_due, self.now);
        self.start_telling();
    }

    /// Takes what is new of a page, for which there is room; gives how many rows that were.
    fn take_next(&mut self, rows: Vec<Row<R>>, look: LookNumber) -> usize {
        let (mut fresh, mut seen, mut room) = (0, None, self.room());
        for row in rows {
            if !self.lanes.read(row.lane, (row.seq, row.memory), look) {
                continue;
            }
            // Rows that were known as the look began may have ended since, and others came in their place.
            if !room.take(row.memory) {
                self.lanes.read_again(row.lane, row.seq);
                continue;
            }
            fresh += 1;
            self.receive(row, &mut seen);
        }
        fresh
    }

    fn look_failed(&mut self, failure: Failure) {
        self.lanes.look_failed();
        self.schedule.look_after(failure.wait, self.now);
        if failure.connection_lost {
            // The server may have lost what was committed last, and marks and transaction ids mean nothing then.
            self.horizon = Horizon::begin(self.horizon.drawn());
            self.topics.lower_all(0);
            self.lanes.ids().into_iter().for_each(|lane| self.lanes.reread(lane));
        }
    }

    /// Notes which server answered; gives whether another one did before.
    pub(super) fn notice_server(&mut self, server: i64) -> bool {
        self.server.replace(server).is_some_and(|before| before != server)
    }

    /// The table may be another: rows that we know may be gone, and others have their numbers. What was acknowledged is
    /// marked, by its ids; the rest is dropped.
    pub(super) fn begin_anew(&mut self, notice: Notice, last_seq: i64) {
        self.say(notice);
        self.lanes.look_failed();
        self.horizon = Horizon::begin(last_seq);
        self.topics.lower_all(0);
        self.begins_anew = true;
        self.looks.void = self.looks.begun;
        self.drop_unsent();
        self.purge_main("the outbox may have lost what was committed last");
        for place in 0..self.sides.len() {
            if let Some(work) = self.sides.get_mut(place).and_then(|side| side.work.as_mut()) {
                work.gives_way = true;
            }
            self.purge_side(place);
        }
    }

    /// Reads everything anew once nothing of what was known is in hand.
    pub(super) fn read_anew(&mut self) {
        let is_purging = self.main.purging || self.sides.iter().any(|side| side.purging);
        if self.begins_anew && !is_purging && self.marking.is_none() && !self.has_marks() {
            self.begins_anew = false;
            self.lanes.begin_anew();
            self.look_now();
        }
    }
}
