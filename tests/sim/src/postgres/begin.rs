//! Notes that are written before a call, and the settlement in a call's own transaction.

use mailroom_core::handler_machine::command::{Begin, Settled};
use mailroom_core::handler_machine::event::SqlOutcome;
use mailroom_core::ids::{Lease, OrderKey, Seq};
use mailroom_core::message::Message;

use super::locks::{Mode, Place};
use super::settle::{EndedMessage, end_row, ending};
use super::table::Tx;
use super::{Flow, LaneRow, Postgres, Row, Session};
use crate::guest::{Effects, blame};

impl Postgres {
    /// Notes that a message is handed over; gives whether its row is as the message has it.
    pub(crate) fn note_begun(&mut self, tx: Tx, lease: Lease, message: &Message, begin: Begin) -> Flow<bool> {
        let seq = Seq(message.seq);
        if self.lanes.get(tx, &lease.lane).is_none_or(|lane| lane.token != lease.token) {
            return Flow::Rollback(false);
        }
        let locked = self.locks.lock(tx, Place::Lane(lease.lane), Mode::KeyShare);
        if let Err(blocker) = locked.and_then(|()| self.lock_row(tx, seq)) {
            return Flow::Wait(blocker);
        }
        // That it is handed over may be noted already, where nobody was called.
        let as_it_was = |row: &Row| row.is_pending() && row.deliveries == message.deliveries;
        if !self.inbox.get(tx, &seq).is_some_and(as_it_was) {
            return Flow::Rollback(false);
        }
        Flow::Commit(self.inbox.update(tx, &seq, |row| match begin {
            Begin::Free => {}
            Begin::Once => row.begun = true,
            Begin::Alone => row.lone = true,
        }))
    }

    /// Notes that a message which ran alone came back: it is not to blame for whatever happens next.
    pub(crate) fn note_came_back(&mut self, tx: Tx, lease: Lease, message: &Message) -> Flow<()> {
        let seq = Seq(message.seq);
        if self.lanes.get(tx, &lease.lane).is_none_or(|lane| lane.token != lease.token) {
            return Flow::Rollback(());
        }
        let locked = self.locks.lock(tx, Place::Lane(lease.lane), Mode::KeyShare);
        if let Err(blocker) = locked.and_then(|()| self.lock_row(tx, seq)) {
            return Flow::Wait(blocker);
        }
        let as_it_was = |row: &Row| row.is_pending() && row.deliveries == message.deliveries;
        if !self.inbox.get(tx, &seq).is_some_and(as_it_was) {
            return Flow::Rollback(());
        }
        self.inbox.update(tx, &seq, |row| (row.lone, row.crashes) = (false, 0));
        Flow::Commit(())
    }

    /// One statement that settles a message in its call's own transaction.
    pub(crate) fn settle_sql(
        &mut self,
        tx: Tx,
        now: u64,
        session: Session,
        lease: Lease,
        settled: &Settled<Effects>,
    ) -> Flow<SqlOutcome<Effects>> {
        let is_ours = |lane: &LaneRow| lane.token == lease.token && lane.owner == Some(session);
        if !self.lanes.get(tx, &lease.lane).is_some_and(is_ours) {
            return Flow::Rollback(SqlOutcome::LaneLost);
        }
        let seq = Seq(settled.message.seq);
        let locked = self.locks.lock(tx, Place::Lane(lease.lane), Mode::KeyShare);
        if let Err(blocker) = locked.and_then(|()| self.lock_row(tx, seq)) {
            return Flow::Wait(blocker);
        }
        self.fenced_at.insert(tx, self.commits);
        let as_called = self.inbox.get(tx, &seq).is_some_and(|row: &Row| {
            // Held or not: it is looked for among both.
            row.is_pending() && row.deliveries == settled.message.deliveries
        });
        if !as_called {
            return Flow::Rollback(SqlOutcome::Missed);
        }
        let message = EndedMessage {
            lane: lease.lane,
            seq,
            okey: settled.message.okey.map(OrderKey),
            how: &settled.how,
        };
        let effects = ending(&settled.how).1;
        let of_message: Vec<_> = effects.iter().map(|effects| ((lease.lane, seq), *effects)).collect();
        if effects.is_some_and(|effects| effects.refused) {
            let instead = blame(&settled.message, &settled.how);
            return Flow::Rollback(instead.map_or(SqlOutcome::Again, SqlOutcome::Instead));
        }
        if !self.stale_reads(tx, &of_message).is_empty() {
            return Flow::Rollback(SqlOutcome::Again);
        }
        match self.write_state(tx, &of_message) {
            Err(blocker) => return Flow::Wait(blocker),
            Ok(lost) if !lost.is_empty() => return Flow::Rollback(SqlOutcome::Again),
            Ok(_) => {}
        }
        if let Err(blocker) = self.bury_message(tx, &message) {
            return Flow::Wait(blocker);
        }
        if let Some(effects) = effects {
            self.emit(tx, seq, effects);
        }
        self.inbox.update(tx, &seq, |row| end_row(row, &settled.how, now));
        let rereads = self.lanes.get(tx, &lease.lane).map(|lane| lane.rereads).unwrap_or_default();
        let emitted = effects.is_some_and(|effects| !effects.said.is_empty());
        Flow::Commit(SqlOutcome::Done { rereads, emitted })
    }
}
