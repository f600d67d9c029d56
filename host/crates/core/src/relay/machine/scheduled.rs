//! Scheduled rows. They are not among the next rows: a delay holds back the message, not its key, so the two
//! need no order, and each is looked for where it is found at once.

use std::time::Duration;

use super::super::{Command, DuePage, Failure, LookDue, Notice};
use super::{RelayMachine, Room, UnderWay};
use crate::time::Moment;

/// The time of the first is asked for no more often.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Looks at due rows are at least so far apart.
const GAP: Duration = Duration::from_millis(10);
/// One that brings nothing is followed by a rest of so many times what it took: it may have walked over many rows of
/// held topics.
const REST: u32 = 4;
/// Rows that are due and were not taken are known, or their topic is held: they are looked for again after this.
const FRUITLESS: Duration = Duration::from_millis(500);

/// Schedule of the looks at rows with a time of their own.
#[derive(Debug, Clone)]
pub(super) struct DueSchedule {
    ask_at: Moment,
    /// Time of the first row that was not due when it was seen.
    first: Option<Moment>,
    /// One was due already.
    overdue: bool,
    /// No look before this.
    rest_until: Moment,
    /// None for overdue ones alone before this.
    overdue_from: Moment,
}

impl DueSchedule {
    pub(super) fn new(now: Moment) -> Self {
        Self { ask_at: now, first: None, overdue: false, rest_until: now, overdue_from: now }
    }

    /// Has the next look at the next rows ask.
    pub(super) fn ask_now(&mut self, now: Moment) {
        self.ask_at = now;
        self.overdue_from = self.overdue_from.min(now);
    }

    /// Tells whether a look at the next rows that begins now is to ask for the time of the first, and counts
    /// it as asked.
    pub(super) fn asks(&mut self, now: Moment) -> bool {
        let asks = self.ask_at <= now;
        if asks {
            self.ask_at = now + ASK_EVERY;
        }
        asks
    }

    /// Takes how long it is until the first is due.
    pub(super) fn answered(&mut self, next_due: Option<Duration>, now: Moment) {
        match next_due {
            Some(Duration::ZERO) => self.overdue = true,
            Some(wait) => {
                let at = now + wait;
                self.first = Some(self.first.map_or(at, |first| first.min(at)));
            }
            None => {}
        }
    }

    /// Returns when to look at due rows.
    pub(super) fn next_look(&self) -> Option<Moment> {
        let overdue = self.overdue.then_some(self.overdue_from);
        self.first.into_iter().chain(overdue).min().map(|at| at.max(self.rest_until))
    }

    fn looked(&mut self, look: UnderWay, fresh: usize, more: bool, next_due: Option<Duration>, now: Moment) {
        self.first = next_due.map(|wait| now + wait);
        self.overdue = more;
        let rest = match fresh {
            _ if more => Duration::ZERO,
            0 => now.since(look.began) * REST,
            _ => now.since(look.began),
        };
        self.rest_until = now + GAP.max(rest);
        if fresh == 0 && !more {
            self.overdue_from = now + FRUITLESS;
        }
    }
}

impl<R: Clone> RelayMachine<R> {
    pub(super) fn start_look_due(&mut self) {
        let is_time = self.due.next_look().is_some_and(|at| at <= self.now);
        if self.looks.due.is_some() || !is_time || !self.may_look() {
            return;
        }
        // The next rows have the other half.
        let room = self.room();
        if room.is_none() {
            return;
        }
        let room = Room { rows: room.rows.div_ceil(2), bytes: room.bytes.div_ceil(2) };
        let new_max = self.rows_fitting(room);
        let number = self.number_look();
        let starts = self.lanes.begin_aside(new_max);
        let rows_max = new_max + starts.known;
        self.looks.due = Some(UnderWay { number, began: self.now, rows_max, side: None });
        let without = self.topics.held_names();
        let (lanes, bounds) = (starts.lanes, starts.bounds);
        let bytes_max = self.look_bytes(room.bytes);
        self.commands.push(Command::LookDue(LookDue { lanes, bounds, without, rows_max, bytes_max }));
    }

    pub(super) fn looked_due(&mut self, looked: Result<DuePage<R>, Failure>) {
        let Some(look) = self.looks.due.take() else { return };
        let page = match looked {
            Ok(page) => page,
            Err(failure) => {
                self.due.rest_until = self.now + failure.wait;
                return;
            }
        };
        let is_void = look.number <= self.looks.void;
        if !is_void && self.notice_server(page.server) {
            return self.begin_anew(Notice::AnotherServer, self.horizon.drawn());
        }
        self.meet(&page.rows, self.horizon.seq());
        let mut more = page.is_cut || page.rows.len() >= look.rows_max;
        let (mut fresh, mut seen, mut room) = (0, None, self.room());
        for row in page.rows {
            // Between a purge and its end nothing of the lanes may be taken: what is purged goes first.
            let takes = !(self.main.purging || is_void);
            if !takes || !self.lanes.read_aside(row.lane, (row.seq, row.memory), look.number) {
                continue;
            }
            if !room.take(row.memory) {
                self.lanes.put_back(row.lane, row.seq);
                more = true;
                continue;
            }
            fresh += 1;
            self.receive(row, &mut seen);
        }
        self.due.looked(look, fresh, more, page.next_due, self.now);
    }
}
