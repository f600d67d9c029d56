//! Looks at the table, and what they bring.

use tokio::time::Instant;

use super::{Look, Turns};
use crate::outbox::{self, Pending};
use crate::relay::horizon::STRAGGLERS_MAX;
use crate::relay::lanes::{Looked, Starts};

impl Turns {
    pub(super) fn start_look(&mut self) {
        let now = Instant::now();
        for (lane, floor) in self.lanes.rewind(now) {
            self.book.lower(lane, floor);
            self.idle.look_now(now);
        }
        let relay = &self.relay.config.relay;
        let in_hand = self.flight.len() + self.acknowledged.len() + self.marked.len() + self.refused.len();
        let hungry = self.lanes.hungry();
        let wanted =
            hungry > 0 && self.idle.next_look() <= now + relay.poll_min || self.idle.next_look() <= now;
        if self.looking.is_some() || self.lanes.is_empty() || in_hand >= relay.in_flight_max || !wanted {
            return;
        }
        self.idle.begin_look();
        let rows_max = relay.batch_rows_max.min(relay.in_flight_max - in_hand).max(1);
        let lane_rows_max = (rows_max / hungry.max(8)).max(1);
        let Starts { lanes, late, bounds, known } = self.lanes.begin_look(self.horizon.seq(), lane_rows_max);
        let (stragglers, floors) = self.horizon.stragglers();
        let look = outbox::Look {
            lanes,
            late,
            bounds,
            without: self.book.held(),
            rows_max: rows_max + known,
            stragglers,
            floors,
            sample: self.horizon.wants_sample(now),
            open_below: self.horizon.asks_below(),
            // One more tells that they are too many.
            open_max: i64::try_from(STRAGGLERS_MAX + 1).unwrap_or(i64::MAX),
        };
        let db = self.relay.db.clone();
        self.looking = Some(Box::pin(async move { Ok((outbox::read(&db, &look).await?, look.rows_max)) }));
    }

    pub(super) fn looked(&mut self, look: Look) {
        let (page, rows_max) = match look {
            Ok(looked) => looked,
            Err(error) => {
                let wait = self.outage.failed(&error);
                self.idle.look_after(wait);
                return;
            }
        };
        self.outage.over();
        let before = self.horizon.seq();
        let floor = self.horizon.seen(&page.snapshot, Instant::now());
        if let Some(floor) = floor {
            self.book.lower_all(floor);
        }
        self.meet(&page.rows, before.min(floor.unwrap_or(i64::MAX)));
        let cut_at = page.rows.last().filter(|_| page.rows.len() >= rows_max).map(|row| row.seq);
        let fresh = self.take_rows(page.rows);
        self.lanes.looked(Looked { cut_at, last_seq: page.snapshot.last_seq, floor });
        self.idle.looked(fresh, self.lanes.hungry() > 0, &self.relay.config.relay, Instant::now());
        self.start_telling();
    }

    /// Gives how many rows are new to us.
    fn take_rows(&mut self, rows: Vec<Pending>) -> usize {
        let mut fresh = 0;
        for row in rows {
            if !self.lanes.read(row.lane, row.seq) {
                continue;
            }
            fresh += 1;
            if self.book.holds(&row.topic) {
                self.lanes.put_back(row.lane, row.seq);
            } else if row.due_in.is_zero() {
                self.flight.push(row);
            } else {
                self.lanes.again(row.lane, row.seq, row.due_in);
            }
        }
        fresh
    }
}
