//! Settlements of every kind of row with every kind of end.

use std::sync::Arc;
use std::time::Duration;

use mailroom_core::handler_machine::command::{
    Command, EndedBy, How, Insert, LaneWrite, NewRow, NewRowState, Settled, Spill, Write,
};
use mailroom_core::handler_machine::event::{Decision, Ending};
use mailroom_core::ids::{CallId, LaneId, OrderKey, RereadCount, Seq, WriteId};
use mailroom_core::message::Message;
use mailroom_core::verdict::decide::DeadReason;

use super::loose::Loose;
use crate::guest::{BYTES, Effects, StateRead, StateWrite};
use crate::kafka::{Record, as_polled};
use crate::postgres::reads::as_read;
use crate::postgres::table::NOBODY;
use crate::postgres::{Session, StateId};
use crate::setup::{draw_version, shared};

/// Reason that is given for a message that was stored without its content.
const REFUSED: &str = "the database refuses its content";

/// Parts of a settlement so far.
#[derive(Default)]
struct Batch {
    seqs: Vec<Seq>,
    written: Vec<(StateId, i64)>,
}

impl Loose {
    pub(super) fn write(&mut self) {
        let mut lanes = self.lanes();
        let count = 1 + self.choices.weighted(&[5, 2]);
        while lanes.len() > count {
            lanes.remove(self.choices.index(lanes.len()));
        }
        let mut batch = Batch::default();
        let mut writes = Vec::new();
        for lane in lanes {
            writes.push(self.lane_write(lane, &mut batch));
        }
        let write = Write { id: WriteId(self.commands), lanes: writes };
        self.command(Session(1), Command::Write(write));
    }

    /// Settles a message in a transaction of its call's own.
    pub(super) fn settle_sql(&mut self) {
        let lane = self.a_lane();
        let rows = self.pending(lane);
        let Some((seq, row)) = rows.get(self.choices.index(rows.len())) else { return };
        let mut message = (*as_read(*seq, row, 0).message).clone();
        message.deliveries += u32::from(self.choices.percent(10));
        let once = self.choices.percent(10);
        let version = shared(&draw_version(&mut self.choices, 1, once));
        let mut effects = Effects { call: self.commands, sql: true, once, ..Effects::default() };
        self.draw_effects(&mut effects, &message, &mut Batch::default());
        let wrote_state = !effects.writes.is_empty();
        let ending = Ending::Done;
        let decision =
            Decision { ending, wrote_state, has_sql: true, bytes: BYTES, effects: Arc::new(effects) };
        let how = How { end: EndedBy::Call(decision), version, based_on: None, held: false };
        let was_held = row.held != self.choices.percent(10);
        let settled = Settled { message: Arc::new(message), was_held, how };
        let owner = self.pg.lanes.get(NOBODY, &lane).and_then(|row| row.owner);
        let other = self.a_session();
        let session = owner.filter(|_| self.choices.percent(90)).unwrap_or(other);
        let (call, lease) = (CallId(self.commands), self.some_lease(lane));
        self.command(session, Command::SettleSql { call, lease, settled });
    }

    fn lane_write(&mut self, lane: LaneId, batch: &mut Batch) -> LaneWrite<Effects> {
        let (mut settled, mut spill) = (Vec::new(), Vec::new());
        for (seq, row) in self.pending(lane) {
            match self.choices.weighted(&[5, 4, 1]) {
                0 => {}
                1 => {
                    let mut message = (*as_read(seq, &row, 0).message).clone();
                    message.deliveries += u32::from(self.choices.percent(4));
                    let was_held = row.held != self.choices.percent(4);
                    let how = self.how(&message, true, batch);
                    settled.push(Settled { message: Arc::new(message), was_held, how });
                }
                _ => spill.push(Spill { seq, wakes: self.choices.percent(50) }),
            }
        }
        let insert = if self.choices.percent(55) { self.insert(lane, batch) } else { None };
        let rereads = self.pg.lanes.get(NOBODY, &lane).map(|row| row.rereads).unwrap_or_default();
        let unseen = i64::from(self.choices.percent(6));
        LaneWrite {
            lease: self.some_lease(lane),
            settled,
            insert,
            spill,
            reread_seen: RereadCount(rereads.0 - unseen),
        }
    }

    fn insert(&mut self, lane: LaneId, batch: &mut Batch) -> Option<Insert<Effects>> {
        let partition = self.partition(lane)?;
        let (epoch, next) = self.pg.offsets.get(NOBODY, &partition).map(|row| (row.epoch, row.next))?;
        let count = self.choices.index(4);
        let first = self.pg.sequence + 1;
        self.command(Session(1), Command::DrawSeqs(count));
        let mut rows = Vec::new();
        for (offset, seq) in (next..).zip(first..).take(count) {
            let record = self.record(&partition.topic);
            let mut message = as_polled(&partition, offset, &record).message;
            (message.seq, message.lane) = (seq, lane.0);
            message.attempts_max = 1 + self.choices.draw(3);
            rows.push(self.new_row(message, record.unfit, batch));
        }
        let to = next + i64::try_from(count).unwrap_or(0) + i64::from(self.choices.draw(2));
        let epoch = epoch - i64::from(self.choices.percent(3));
        let from = next - i64::from(self.choices.percent(3));
        Some(Insert { partition, epoch, from, to, rows })
    }

    fn record(&mut self, topic: &Arc<str>) -> Record {
        let is_again = self.choices.percent(15) && !self.sent_to.is_empty();
        let again = is_again.then(|| self.choices.index(self.sent_to.len()));
        // An id counts within its topic.
        let again = again.filter(|place| self.sent_to.get(*place) == Some(topic));
        let place = again.unwrap_or(self.sent_to.len());
        if again.is_none() {
            self.sent_to.push(Arc::clone(topic));
        }
        let key = self.choices.draw(4).checked_sub(1);
        let refusal = match self.choices.weighted(&[92, 3, 2]) {
            0 => None,
            refusal => Some(refusal == 2),
        };
        let unfit = self.choices.percent(8);
        Record { key, message_id: format!("m{}", place + 1), matched: true, unfit, refusal }
    }

    fn new_row(&mut self, message: Message, unfit: bool, batch: &mut Batch) -> NewRow<Effects> {
        let bare = self.choices.percent(10);
        let message = if bare { message.bare() } else { message };
        let why = if bare { REFUSED } else { "unfit" };
        let as_what = match self.choices.weighted(&[3, 2, 3, 4]) {
            0 => NewRowState::Pending,
            1 => NewRowState::Running,
            2 if message.okey.is_some() => NewRowState::Held,
            _ => NewRowState::Ended(self.how(&message, false, batch)),
        };
        let unfit = (unfit || bare).then(|| why.into());
        NewRow { message: Arc::new(message), unfit, bare, as_what }
    }

    /// Draws the end of a message, with a row or without one so far.
    fn how(&mut self, message: &Message, has_row: bool, batch: &mut Batch) -> How<Effects> {
        let based_on = self.choices.pick(&batch.seqs).filter(|_| self.choices.percent(15));
        batch.seqs.push(Seq(message.seq));
        let once = self.choices.percent(10);
        let version = shared(&draw_version(&mut self.choices, 1, once));
        let held = self.choices.percent(60);
        let ending = self.ending(message, has_row);
        let by_host = !matches!(ending, Ending::Done | Ending::Waits { .. }) && self.choices.percent(50);
        let end = match ending {
            Ending::Dead(reason) if by_host && reason != DeadReason::Exhausted => {
                EndedBy::Host(reason, "no".into())
            }
            Ending::Done | Ending::Waits { .. } | Ending::Dead(_) => {
                EndedBy::Call(self.decision(message, ending, once, batch))
            }
        };
        How { end, version, based_on, held }
    }

    fn ending(&mut self, message: &Message, has_row: bool) -> Ending {
        // The last attempt is spent by death only, and a record's death spends its only one.
        let may_count = message.attempts_made + 1 < message.attempts_max;
        let may_exhaust = has_row || message.attempts_max == 1;
        match self.choices.weighted(&[8, 6, 3, 4]) {
            0 => Ending::Done,
            1 => {
                let delay = self.choices.pick(&[0, 20, 400, 3000]).unwrap_or(0);
                let counted = may_count && self.choices.percent(60);
                Ending::Waits { delay: Duration::from_millis(delay), counted }
            }
            2 if may_exhaust => Ending::Dead(DeadReason::Exhausted),
            _ => {
                let reasons = [
                    DeadReason::Rejected,
                    DeadReason::Quarantined,
                    DeadReason::Parked,
                    DeadReason::CrashLoop,
                    DeadReason::Interrupted,
                ];
                Ending::Dead(self.choices.pick(&reasons).unwrap_or(DeadReason::Rejected))
            }
        }
    }

    fn decision(
        &mut self,
        message: &Message,
        ending: Ending,
        once: bool,
        batch: &mut Batch,
    ) -> Decision<Effects> {
        let mut effects = Effects { call: self.commands, once, ..Effects::default() };
        if ending == Ending::Done {
            self.draw_effects(&mut effects, message, batch);
        } else {
            effects.blamed = self.choices.percent(15);
        }
        let wrote_state = !effects.writes.is_empty();
        Decision { ending, wrote_state, has_sql: false, bytes: BYTES, effects: Arc::new(effects) }
    }

    fn draw_effects(&mut self, effects: &mut Effects, message: &Message, batch: &mut Batch) {
        effects.said = (0..self.choices.draw(3)).map(i64::from).collect();
        if self.choices.percent(3) {
            effects.refused = true;
            effects.said.push(-1);
        }
        let mut ids = vec![StateId::Shared(0), StateId::Shared(1)];
        ids.extend(message.okey.map(|key| StateId::Keyed(OrderKey(key))));
        for id in ids {
            if self.choices.percent(60) {
                continue;
            }
            let committed = self.pg.state.get(NOBODY, &id).map_or((0, 0), |row| (row.version, row.value));
            let (version, value) = match self.choices.weighted(&[8, 4, 1]) {
                0 => committed,
                1 => {
                    let written = batch.written.iter().rev().find(|(of, _)| *of == id);
                    written.map_or(committed, |(_, version)| (*version, 0))
                }
                _ => (i64::from(self.choices.draw(5)), 0),
            };
            effects.reads.push(StateRead { id, version, value });
            if self.choices.percent(50) {
                let written = self.pg.draw_version();
                batch.written.push((id, written));
                effects.writes.push(StateWrite { id, read: version, written, value: value + 1 });
            }
        }
    }
}
