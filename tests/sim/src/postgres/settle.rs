//! The one transaction that settles: offsets, rows, what was emitted, dead letters, state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mailroom_core::handler_machine::command::{EndedBy, How, LaneWrite, NewRow, NewRowState, Settled, Write};
use mailroom_core::handler_machine::event::{Decision, Ending, Failure, WriteOutcome, Written};
use mailroom_core::ids::{LaneId, Lease, OrderKey, RereadCount, Seq};
use mailroom_core::message::Message;
use mailroom_core::verdict::decide::DeadReason;

use super::locks::{Mode, Place};
use super::state::OfMessage;
use super::table::Tx;
use super::{Flow, LaneRow, Letter, Postgres, Row, Session, Status};
use crate::guest::{Effects, blame, is_refused};

/// Facts that a settlement keeps from one statement to the next.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct SettleNotes {
    rereads: BTreeMap<LaneId, RereadCount>,
    hit: BTreeSet<Seq>,
    missed: BTreeSet<(LaneId, Seq)>,
    duplicates: BTreeSet<(LaneId, Seq)>,
    stale: BTreeSet<(LaneId, Seq)>,
}

/// A message that ends by a settlement.
pub(crate) struct EndedMessage<'w> {
    pub(crate) lane: LaneId,
    pub(crate) seq: Seq,
    pub(crate) okey: Option<OrderKey>,
    pub(crate) how: &'w How<Effects>,
}

/// The messages that a settlement ends, by lane and place.
pub(crate) fn ended_messages(lanes: &[LaneWrite<Effects>]) -> Vec<EndedMessage<'_>> {
    let mut ended = Vec::new();
    for lane in lanes {
        ended.extend(lane.ended().map(|(message, how)| ended_message(lane.lease, message, how)));
    }
    ended.sort_by_key(|message| (message.lane, message.seq));
    ended
}

fn ended_message<'w>(lease: Lease, message: &Message, how: &'w How<Effects>) -> EndedMessage<'w> {
    EndedMessage { lane: lease.lane, seq: Seq(message.seq), okey: message.okey.map(OrderKey), how }
}

/// Returns a message's end, with its effects.
pub(crate) fn ending(how: &How<Effects>) -> (Ending, Option<&Effects>) {
    match &how.end {
        EndedBy::Call(Decision { ending, effects, .. }) => (*ending, Some(effects)),
        EndedBy::Host(reason, _) => (Ending::Dead(*reason), None),
    }
}

type Settles = Flow<WriteOutcome<Effects>>;

impl Postgres {
    /// One statement of a settlement.
    pub(crate) fn settle(
        &mut self,
        tx: Tx,
        now: u64,
        write: &Write<Effects>,
        notes: &mut SettleNotes,
        step: usize,
    ) -> Settles {
        match step {
            0 => self.fence(tx, &write.lanes, notes),
            1 => self.advance_offsets(tx, &write.lanes),
            2 => self.settle_rows(tx, now, &write.lanes, notes),
            3 => self.insert_rows(tx, now, &write.lanes, notes),
            4 => self.mark_and_spill(tx, &write.lanes, notes),
            5 => self.write_effects(tx, &write.lanes, notes),
            _ => self.settle_state(tx, &write.lanes, notes),
        }
    }

    fn fence(&mut self, tx: Tx, lanes: &[LaneWrite<Effects>], notes: &mut SettleNotes) -> Settles {
        let mut lost = BTreeSet::new();
        for lane in lanes {
            let Lease { lane: id, token } = lane.lease;
            if self.lanes.get(tx, &id).is_none_or(|row| row.token != token) {
                lost.insert(id);
                continue;
            }
            if let Err(blocker) = self.locks.lock(tx, Place::Lane(id), Mode::KeyShare) {
                return Flow::Wait(blocker);
            }
            let rereads = self.lanes.get(tx, &id).map(|row| row.rereads).unwrap_or_default();
            notes.rereads.insert(id, rereads);
        }
        self.fenced_at.insert(tx, self.commits);
        if !lost.is_empty() {
            return Flow::Rollback(WriteOutcome::LanesLost(lost));
        }
        let goes_on = |lane: &&LaneWrite<Effects>| {
            let mut rows = lane.insert.iter().flat_map(|insert| &insert.rows);
            rows.any(|row| !matches!(row.as_what, NewRowState::Held))
        };
        let touched = lanes.iter().filter(goes_on).filter_map(|lane| {
            let count = *notes.rereads.get(&lane.lease.lane)?;
            (count > lane.reread_seen).then_some((lane.lease.lane, count))
        });
        let touched: BTreeMap<LaneId, RereadCount> = touched.collect();
        if touched.is_empty() { Flow::Next } else { Flow::Rollback(WriteOutcome::Touched(touched)) }
    }

    fn advance_offsets(&mut self, tx: Tx, lanes: &[LaneWrite<Effects>]) -> Settles {
        let inserts = || lanes.iter().filter_map(|lane| Some((lane.lease.lane, lane.insert.as_ref()?)));
        for (_, insert) in inserts() {
            let place = Place::Offset(insert.partition.clone());
            if let Err(blocker) = self.locks.lock(tx, place, Mode::NoKeyUpdate) {
                return Flow::Wait(blocker);
            }
        }
        let mut moved = BTreeSet::new();
        for (lane, insert) in inserts() {
            let row = self.offsets.get(tx, &insert.partition);
            if row.is_some_and(|row| row.epoch == insert.epoch && row.next == insert.from) {
                self.offsets.update(tx, &insert.partition, |row| row.next = insert.to);
            } else {
                moved.insert(lane);
            }
        }
        if moved.is_empty() { Flow::Next } else { Flow::Rollback(WriteOutcome::OffsetMoved(moved)) }
    }

    fn settle_rows(
        &mut self,
        tx: Tx,
        now: u64,
        lanes: &[LaneWrite<Effects>],
        notes: &mut SettleNotes,
    ) -> Settles {
        let settled =
            || lanes.iter().flat_map(|lane| lane.settled.iter().map(|settled| (lane.lease.lane, settled)));
        for (lane, settled) in settled() {
            if self.is_as_called(tx, lane, settled)
                && let Err(blocker) = self.lock_row(tx, Seq(settled.message.seq))
            {
                return Flow::Wait(blocker);
            }
        }
        for (lane, settled) in settled() {
            let seq = Seq(settled.message.seq);
            if self.is_as_called(tx, lane, settled) {
                self.inbox.update(tx, &seq, |row| {
                    end_row(row, &settled.how, now);
                    if row.status == Status::Failed(DeadReason::Exhausted) {
                        // Its budget may be another by now than when it was stored.
                        row.attempts_max = row.attempts.max(1);
                    }
                });
                notes.hit.insert(seq);
            } else {
                notes.missed.insert((lane, seq));
            }
        }
        Flow::Next
    }

    fn is_as_called(&self, tx: Tx, lane: LaneId, settled: &Settled<Effects>) -> bool {
        self.inbox.get(tx, &Seq(settled.message.seq)).is_some_and(|row| {
            row.lane == lane
                && row.is_pending()
                && row.held == settled.was_held
                && row.deliveries == settled.message.deliveries
        })
    }

    fn insert_rows(
        &mut self,
        tx: Tx,
        now: u64,
        lanes: &[LaneWrite<Effects>],
        notes: &mut SettleNotes,
    ) -> Settles {
        let inserts = || lanes.iter().filter_map(|lane| Some((lane.lease.lane, lane.insert.as_ref()?)));
        let rows = || inserts().flat_map(|(lane, insert)| insert.rows.iter().map(move |row| (lane, row)));
        for (_, row) in rows() {
            if is_refused(&row.message) {
                return Flow::Rollback(bad_data(lanes));
            }
            let place = Place::MessageId(row.message.message_id.clone());
            if let Err(blocker) = self.locks.lock(tx, place, Mode::Update) {
                return Flow::Wait(blocker);
            }
        }
        for (lane, new) in rows() {
            let seq = Seq(new.message.seq);
            if self.ids.get(tx, &new.message.message_id).is_some() {
                notes.duplicates.insert((lane, seq));
                continue;
            }
            self.ids.put(tx, new.message.message_id.clone(), Some(seq));
            self.inbox.put(tx, seq, Some(new_row(lane, new, now)));
            if matches!(new.as_what, NewRowState::Ended(_)) {
                notes.hit.insert(seq);
            }
        }
        Flow::Next
    }

    fn mark_and_spill(&mut self, tx: Tx, lanes: &[LaneWrite<Effects>], notes: &SettleNotes) -> Settles {
        for lane in lanes {
            let running = lane.insert.iter().flat_map(|insert| &insert.rows);
            let running = running.filter(|row| matches!(row.as_what, NewRowState::Running));
            let id = lane.lease.lane;
            let running = running.map(|row| Seq(row.message.seq));
            if let Some(up_to) = running.filter(|seq| !notes.duplicates.contains(&(id, *seq))).max() {
                if let Err(blocker) = self.locks.lock(tx, Place::Lane(id), Mode::NoKeyUpdate) {
                    return Flow::Wait(blocker);
                }
                self.lanes.update(tx, &id, |row| row.started_to = row.started_to.max(up_to));
            }
        }
        let spilled = || lanes.iter().flat_map(|lane| lane.spill.iter());
        for spill in spilled() {
            if let Err(blocker) = self.lock_row(tx, spill.seq) {
                return Flow::Wait(blocker);
            }
        }
        for spill in spilled() {
            if self.inbox.get(tx, &spill.seq).is_some_and(Row::is_pending) {
                self.inbox.update(tx, &spill.seq, |row| (row.held, row.wakes) = (true, spill.wakes));
            }
        }
        Flow::Next
    }

    fn write_effects(&mut self, tx: Tx, lanes: &[LaneWrite<Effects>], notes: &mut SettleNotes) -> Settles {
        let ended = ended_messages(lanes);
        let hit = || ended.iter().filter(|message| notes.hit.contains(&message.seq));
        let in_batch: BTreeSet<Seq> = ended.iter().map(|message| message.seq).collect();
        let phantom = hit().filter(|message| {
            message.how.based_on.is_some_and(|on| in_batch.contains(&on) && !notes.hit.contains(&on))
        });
        let lost: BTreeSet<_> = phantom.map(|message| (message.lane, message.seq)).collect();
        if !lost.is_empty() {
            return Flow::Rollback(WriteOutcome::StateLost(lost));
        }
        let effects = effects_of_hit(&ended, notes);
        if effects.iter().any(|(_, effects)| effects.refused) {
            return Flow::Rollback(bad_data(lanes));
        }
        for message in hit() {
            if let Err(blocker) = self.bury_message(tx, message) {
                return Flow::Wait(blocker);
            }
        }
        for ((_, seq), effects) in &effects {
            self.emit(tx, *seq, effects);
        }
        let stale = self.stale_reads(tx, &effects);
        notes.stale = stale;
        Flow::Next
    }

    fn settle_state(&mut self, tx: Tx, lanes: &[LaneWrite<Effects>], notes: &SettleNotes) -> Settles {
        let ended = ended_messages(lanes);
        let effects = effects_of_hit(&ended, notes);
        match self.write_state(tx, &effects) {
            Err(blocker) => Flow::Wait(blocker),
            Ok(lost) if !lost.is_empty() || !notes.stale.is_empty() => {
                Flow::Rollback(WriteOutcome::StateLost(&lost | &notes.stale))
            }
            Ok(_) => Flow::Commit(WriteOutcome::Done(Written {
                missed: notes.missed.clone(),
                duplicates: notes.duplicates.clone(),
                rereads: notes.rereads.clone(),
                emitted: effects.iter().any(|(_, effects)| !effects.said.is_empty()),
            })),
        }
    }

    /// The dead letter, and the block of its key.
    pub(super) fn bury_message(&mut self, tx: Tx, message: &EndedMessage<'_>) -> Result<(), Tx> {
        let (Ending::Dead(reason), _) = ending(message.how) else { return Ok(()) };
        self.letters.put(tx, message.seq, Some(Letter { open: true, reason }));
        let blocks = reason.blocks(message.how.version.behind_dead);
        if let Some((key, blocking)) = message.okey.zip(blocks) {
            self.locks.lock(tx, Place::Block(message.lane, key), Mode::Update)?;
            if self.blocked.get(tx, &(message.lane, key)).is_none() {
                self.blocked.put(tx, (message.lane, key), Some((message.seq, blocking)));
            }
        }
        Ok(())
    }

    pub(super) fn emit(&mut self, tx: Tx, seq: Seq, effects: &Effects) {
        for (place, said) in (0..).zip(&effects.said) {
            self.outbox.put(tx, (seq, place), Some(*said));
        }
    }

    /// The lanes that a session's settlement wrote for and that are another's by the table. One that it gave back while
    /// the settlement was under way is nobody's: whoever takes it waits for that.
    pub(crate) fn strangers(&self, tx: Tx, session: Session, leases: &[Lease]) -> Vec<LaneId> {
        let is_others = |row: &LaneRow| row.owner.is_some_and(|owner| owner != session);
        let strange = leases.iter().filter(|lease| self.lanes.get(tx, &lease.lane).is_none_or(is_others));
        strange.map(|lease| lease.lane).collect()
    }
}

fn effects_of_hit<'w>(ended: &[EndedMessage<'w>], notes: &SettleNotes) -> Vec<OfMessage<'w>> {
    let hit = ended.iter().filter(|message| notes.hit.contains(&message.seq));
    hit.filter_map(|message| Some(((message.lane, message.seq), ending(message.how).1?))).collect()
}

/// Returns the host's answer where the database refuses something: for a message alone, how it ends instead.
fn bad_data(lanes: &[LaneWrite<Effects>]) -> WriteOutcome<Effects> {
    let [LaneWrite { settled, insert, .. }] = lanes else { return WriteOutcome::BadData(None) };
    let rows = insert.as_ref().map_or(&[][..], |insert| insert.rows.as_slice());
    match (settled.as_slice(), rows) {
        ([Settled { message, how, .. }], []) if insert.is_none() => match blame(message, how) {
            None => WriteOutcome::NotDone(Failure::Away),
            instead => WriteOutcome::BadData(instead),
        },
        ([], [NewRow { message, as_what: NewRowState::Ended(how), .. }]) => {
            WriteOutcome::BadData(blame(message, how))
        }
        _ => WriteOutcome::BadData(None),
    }
}

/// Ends a delivery of a row.
pub(super) fn end_row(row: &mut Row, how: &How<Effects>, now: u64) {
    row.deliveries += 1;
    if row.lone {
        // Whoever ran alone and came back kills nobody.
        (row.crashes, row.lone) = (0, false);
    }
    match ending(how).0 {
        Ending::Done => (row.status, row.held, row.wakes) = (Status::Completed, false, false),
        Ending::Dead(reason) => {
            // No other death costs an attempt.
            row.attempts += u32::from(reason == DeadReason::Exhausted);
            (row.status, row.held, row.wakes) = (Status::Failed(reason), false, false);
        }
        Ending::Waits { delay, counted } => {
            row.attempts += u32::from(counted);
            row.scheduled_at = now + u64::try_from(delay.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
            (row.held, row.wakes) = (how.held, how.held);
        }
    }
}

fn new_row(lane: LaneId, new: &NewRow<Effects>, now: u64) -> Row {
    let mut row = Row {
        lane,
        okey: new.message.okey.map(OrderKey),
        message: Arc::clone(&new.message),
        status: Status::Pending,
        held: matches!(new.as_what, NewRowState::Held),
        wakes: false,
        deliveries: 0,
        attempts: 0,
        attempts_max: new.message.attempts_max,
        crashes: 0,
        begun: false,
        lone: false,
        scheduled_at: now,
        unfit: new.unfit.clone(),
        touched: false,
    };
    if let NewRowState::Ended(how) = &new.as_what {
        end_row(&mut row, how, now);
    }
    row
}
