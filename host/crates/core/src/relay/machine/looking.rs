//! Looks at the next rows, and what they bring.

use std::time::Duration;

use super::super::horizon::{Horizon, STRAGGLERS_MAX};
use super::super::lane_cursor::{Looked, Starts};
use super::super::{Command, Failure, Look, Notice, Page};
use super::{RelayMachine, UnderWay};

impl<R: Clone> RelayMachine<R> {
    pub(super) fn start_look(&mut self) {
        if self.looks.next_rows.is_some() || self.lanes.is_empty() || self.main.purging || self.stopping {
            return;
        }
        let with_more = self.lanes.with_more();
        let slack = if with_more > 0 { self.settings.poll_min } else { Duration::ZERO };
        if self.schedule.next_look() > self.now + slack {
            return;
        }
        let room = self.room();
        if room == 0 {
            return;
        }
        self.schedule.begin_look();
        let new_max = self.settings.batch_rows_max.min(room).max(1);
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
        if page.snapshot.last_seq < self.horizon.drawn() {
            return self.begin_anew(page.snapshot.last_seq);
        }
        let before = self.horizon.seq();
        let floor = self.horizon.seen(&page.snapshot, self.now);
        if let Some(floor) = floor {
            self.topics.lower_all(floor);
        }
        self.meet(&page.rows, before.min(floor.unwrap_or(i64::MAX)));
        let cut_at = page.rows.last().filter(|_| page.rows.len() >= look.rows_max).map(|row| row.seq);
        let (mut fresh, mut seen) = (0, None);
        for row in page.rows {
            if !self.lanes.read(row.lane, row.seq, look.number) {
                continue;
            }
            fresh += 1;
            self.receive(row, &mut seen);
        }
        self.lanes.looked(Looked { cut_at, last_seq: page.snapshot.last_seq, floor });
        self.schedule.looked(fresh, self.lanes.with_more() > 0, &self.settings, self.now);
        self.due.answered(page.next_due, self.now);
        self.start_telling();
    }

    fn look_failed(&mut self, failure: Failure) {
        self.lanes.look_failed();
        self.schedule.look_after(failure.wait, self.now);
        if failure.connection_lost {
            // Another server may answer, to which neither marks nor transaction ids mean anything.
            self.horizon = Horizon::default();
            self.topics.lower_all(0);
            self.lanes.ids().into_iter().for_each(|lane| self.lanes.reread(lane));
        }
    }

    /// The sequence fell back: rows that we know may be gone, and others have their numbers.
    fn begin_anew(&mut self, last_seq: i64) {
        self.say(Notice::SequenceFellBack { from: self.horizon.drawn(), to: last_seq });
        self.lanes.look_failed();
        self.lanes.begin_anew();
        self.horizon = Horizon::default();
        self.topics.lower_all(0);
        (self.acknowledged, self.refused) = (Vec::new(), Vec::new());
        self.drop_unsent();
        self.purge_main("the outbox's sequence fell back");
        for place in 0..self.sides.len() {
            self.purge_side(place);
        }
        self.look_now();
    }
}
