//! Calls of a lane's messages: which may start, and what their ends change.
//!
//! Order of a key, before a retry is committed: a decided message that may be called again, or whose writes nobody sees
//! before they are committed, is *awaited* (`How::is_awaited` in `items`). `startable` gives no message of a key for
//! which anything is awaited. A retry that is due within [`STAYS_MAX`] leaves the messages behind it in memory, to wait
//! there; behind a longer one, and behind a death that makes the key wait, `decide` has them leave memory (`waiting`).
//!
//! A key whose state is not known starts nothing while something of it is decided and not written. `fall_from` is the
//! only way back from decided: it takes back all of a key from a place on, never a message alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::items::{Row, Stage};
use super::waiting::STAYS_MAX;
use super::{Blocked, Lane, Phase, Spilled};
use crate::handler_machine::command::{Begin, EndedBy, How};
use crate::handler_machine::event::{Ending, HandedState};
use crate::handler_machine::version::Version;
use crate::ids::{CallId, OrderBy, OrderKey, Seq};
use crate::message::Message;
use crate::time::Moment;
use crate::verdict::decide::DeadReason;
use crate::verdict::{BehindDead, Blocking, LOST_MAX};

/// Longest time that state is handed from call to call before it is read again. A value that another wrote
/// meanwhile costs a call with effects a repetition; a call without any sees it this much later at most.
const STATE_AGE_MAX: Duration = Duration::from_millis(500);

/// Answer of a lane that is asked to start its first message.
#[derive(Debug)]
pub(crate) enum Start<S> {
    /// This call.
    Call(Started<S>),
    /// This message was handed over before, and may be handed over once.
    Begun(Seq),
    /// This message is dead without a call, for these words.
    Dead(Seq, DeadReason, Arc<str>),
    /// The next messages have to be noted as begun before any starts.
    NotMarked,
    /// No message may start now.
    Nothing,
}

/// A message that is being called.
#[derive(Debug)]
pub(crate) struct Started<S> {
    pub(crate) seq: Seq,
    pub(crate) message: Arc<Message>,
    pub(crate) state: Option<S>,
    pub(crate) begin: Begin,
}

/// Worth of a call's end to its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallValidity {
    /// The end counts.
    Current,
    /// The message is called again, or gone.
    Stale,
}

impl<S: Clone, E: Clone> Lane<S, E> {
    /// Puts a key where its first message belongs: ready, or on the clock.
    pub(super) fn arm(&mut self, order: OrderBy, now: Moment) {
        match self.startable(order) {
            Some((seq, due)) if due <= now => drop(self.ready.insert((seq, order))),
            Some((_, due)) => drop(self.timers.insert((due, order))),
            None => {}
        }
    }

    /// Gives the key's first message that waits, and when it is due, where nothing else is in its way.
    fn startable(&self, order: OrderBy) -> Option<(Seq, Moment)> {
        let queue = self.keys.get(&order)?;
        if queue.running.is_some() || queue.awaited > 0 || self.waits_behind_dead(order) {
            return None;
        }
        let seq = queue.first_waiting()?;
        let item = self.items.get(seq)?;
        let waits_for_row = item.stored_first && item.row == Row::Unstored;
        if waits_for_row
            || (item.row == Row::Unstored && self.rereads())
            || self.calls.contains_key(&seq)
            || self.losers.contains(&seq)
        {
            return None;
        }
        match item.stage {
            Stage::Waiting { due } => Some((seq, due)),
            Stage::Running { .. } | Stage::Decided(_) | Stage::Writing(_) => None,
        }
    }

    /// Moves keys that are due.
    pub(crate) fn tick(&mut self, now: Moment) {
        self.free_losers(now);
        while let Some((due, order)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.pop_first();
            self.arm(order, now);
        }
    }

    /// Messages that lost a race are called again where there is nothing that has to be settled before.
    fn free_losers(&mut self, now: Moment) {
        let settles = self.in_flight.write.is_some() || !self.decided.is_empty() || !self.inserts.is_empty();
        if self.losers.is_empty() || settles {
            return;
        }
        for seq in std::mem::take(&mut self.losers) {
            if let Some(order) = self.items.get(seq).map(|item| item.order) {
                self.arm(order, now);
            }
        }
    }

    /// Gives the place of the first message that may start.
    pub(crate) fn first_ready(&mut self, now: Moment) -> Option<Seq> {
        if self.phase != Phase::Working {
            return None;
        }
        while let Some((seq, order)) = self.ready.first().copied() {
            // What happened since may have overtaken it.
            if self.startable(order).is_some_and(|(first, due)| first == seq && due <= now) {
                return Some(seq);
            }
            self.ready.pop_first();
            self.arm_later(order, seq, now);
        }
        None
    }

    /// The key stood in `ready` under a place that is not its first any more.
    fn arm_later(&mut self, order: OrderBy, stale: Seq, now: Moment) {
        if self.startable(order).is_some_and(|(first, due)| first != stale || due > now) {
            self.arm(order, now);
        }
    }

    /// Starts the first message that may start, as `call`.
    pub(crate) fn start(&mut self, call: CallId, version: &Version, now: Moment) -> Start<S> {
        loop {
            // `None`: the key waits for a settlement, and another may start.
            if let Some(start) = self.start_first(call, version, now) {
                return start;
            }
        }
    }

    fn start_first(&mut self, call: CallId, version: &Version, now: Moment) -> Option<Start<S>> {
        let Some(seq) = self.first_ready(now) else { return Some(Start::Nothing) };
        let Some(item) = self.items.get(seq) else { return Some(Start::Nothing) };
        let (order, message, row) = (item.order, Arc::clone(&item.message), item.row);
        let parks = order.key().and_then(|key| self.blocked.get(&key));
        if parks.is_some_and(|blocked| blocked.how == Blocking::Park) {
            return Some(Start::Dead(
                seq,
                DeadReason::Parked,
                "an earlier message of its key is dead".into(),
            ));
        }
        if let Some(reason) = &item.unfit {
            return Some(Start::Dead(seq, DeadReason::Quarantined, Arc::clone(reason)));
        }
        if message.begun {
            return Some(Start::Begun(seq));
        }
        if message.crashes > LOST_MAX {
            let words = "its process died while it ran alone".into();
            return Some(Start::Dead(seq, DeadReason::CrashLoop, words));
        }
        if row != Row::Unstored && seq > self.started_to {
            return Some(Start::NotMarked);
        }
        self.ready.remove(&(seq, order));
        let Some(queue) = self.keys.get(&order) else { return Some(Start::Nothing) };
        let (is_old, is_unbegun) = (now.since(queue.state_read_at) > STATE_AGE_MAX, queue.is_unbegun());
        let based_on = queue.last_writer;
        let state = self.set_state(order, None).filter(|_| !is_old);
        if state.is_none() && !is_unbegun {
            // It would read what is committed beside what is not: it starts once that is written.
            self.inserts.hurry();
            return None;
        }
        let queue = self.keys.get_mut(&order)?;
        if state.is_none() {
            queue.state_read_at = now;
        }
        queue.running = Some(seq);
        queue.begun += 1;
        self.items.set_stage(seq, Stage::Running { call, based_on });
        match row {
            Row::Unstored => self.inserts.started(seq, now),
            Row::Ready | Row::Held => self.marked_ahead = self.marked_ahead.saturating_sub(1),
        }
        self.calls.insert(seq, call);
        self.progress_at = now;
        let begin = match (version.once, message.crashes >= LOST_MAX) {
            (true, _) => Begin::Once,
            (false, true) => Begin::Alone,
            (false, false) => Begin::Free,
        };
        Some(Start::Call(Started { seq, message, state, begin }))
    }

    /// The message was not handed over after all, whatever its row says.
    pub(crate) fn not_begun(&mut self, seq: Seq) {
        if let Some(item) = self.items.get_mut(seq) {
            Arc::make_mut(&mut item.message).begun = false;
        }
    }

    /// A call ended; says whether its message still waits for that.
    pub(crate) fn call_ended(&mut self, call: CallId, seq: Seq, now: Moment) -> CallValidity {
        if self.calls.get(&seq) == Some(&call) {
            self.calls.remove(&seq);
        }
        let Some(item) = self.items.get(seq) else { return CallValidity::Stale };
        if matches!(item.stage, Stage::Running { call: of, .. } if of == call) {
            return CallValidity::Current;
        }
        self.arm(item.order, now);
        CallValidity::Stale
    }

    /// A call decided nothing: its message waits again.
    pub(crate) fn call_again(&mut self, seq: Seq, delay: Duration, now: Moment) {
        let Some(order) = self.items.get(seq).map(|item| item.order) else { return };
        self.items.set_stage(seq, Stage::Waiting { due: now + delay });
        if let Some(queue) = self.keys.get_mut(&order) {
            queue.running = None;
            queue.begun = queue.begun.saturating_sub(1);
        }
        self.arm(order, now);
    }

    /// A message was decided, by its call or without one. `state` is the state as it left it.
    pub(crate) fn decide(
        &mut self,
        seq: Seq,
        end: EndedBy<E>,
        version: Arc<Version>,
        state: Option<HandedState<S>>,
        now: Moment,
    ) {
        let Some(item) = self.items.get(seq) else { return };
        let (based_on, call) = match item.stage {
            Stage::Running { based_on, call } => (based_on, Some(call)),
            // What is parked behind a death that is not committed rests on it.
            Stage::Waiting { .. } => (parked_behind(&self.blocked, item.order, &end), None),
            Stage::Decided(_) | Stage::Writing(_) => return,
        };
        let held = match end_of(&end) {
            Ending::Waits { delay, .. } => item.row == Row::Held || delay > STAYS_MAX,
            Ending::Done | Ending::Dead(_) => false,
        };
        let how = How { end, version, based_on, held };
        let (order, row, ending) = (item.order, item.row, how.ending());
        let (awaited, has_sql, wrote) = (how.is_awaited(), how.has_sql(), how.wrote_state());
        let behind_dead = how.version.behind_dead;
        self.items.set_stage(seq, Stage::Decided(how));
        self.ready.remove(&(seq, order));
        if state.is_some() {
            self.set_state(order, state);
        }
        if let Some(queue) = self.keys.get_mut(&order) {
            queue.running = None;
            queue.begun += usize::from(call.is_none());
            queue.awaited += usize::from(awaited);
            if wrote {
                queue.last_writer = Some(seq);
            }
        }
        match (row, call) {
            (_, Some(call)) if has_sql => drop(self.decided_sql.insert(seq, call)),
            (Row::Unstored, _) => self.inserts.decided(seq, now),
            (Row::Ready | Row::Held, _) => drop(self.decided.insert(seq)),
        }
        match ending {
            Ending::Dead(reason) => self.died(seq, order, reason, behind_dead),
            Ending::Waits { delay, .. } if delay > STAYS_MAX => self.spill_behind(order, seq),
            Ending::Waits { .. } | Ending::Done => {}
        }
        self.arm(order, now);
    }

    /// Blocks or parks the key behind a dead message, where its handler does not let it go on.
    fn died(&mut self, seq: Seq, order: OrderBy, reason: DeadReason, behind_dead: BehindDead) {
        let (Some(key), Some(how)) = (order.key(), reason.blocks(behind_dead)) else { return };
        // A key that an earlier version parks stays parked, as its row in the table does.
        let blocked = self.blocked.entry(key).or_insert(Blocked {
            how,
            by: Some(seq),
            written: false,
            another_stands: false,
        });
        if blocked.written {
            // Whoever closes the earlier letter does not close this one, which is still to be written.
            *blocked = Blocked { how: blocked.how, by: Some(seq), written: false, another_stands: true };
        }
        if blocked.how == Blocking::Wait {
            self.spill_behind(order, seq);
        }
    }

    /// Takes back the decisions on a key from a place on, since they rest on something that is not so: it is
    /// called again, and what runs of it is void. The only way back from decided.
    pub(super) fn fall_from(&mut self, order: OrderBy, from: Seq, now: Moment) {
        self.set_state(order, None);
        let Some(queue) = self.keys.get_mut(&order) else { return };
        let falling: Vec<Seq> = queue.seqs.iter().copied().filter(|seq| *seq >= from).collect();
        for seq in falling {
            let Some(item) = self.items.get(seq).filter(|item| !item.is_waiting()) else { continue };
            let row = item.row;
            let how = match self.items.set_stage(seq, Stage::Waiting { due: now }) {
                Some(Stage::Decided(how) | Stage::Writing(how)) => Some(how),
                Some(Stage::Running { .. } | Stage::Waiting { .. }) | None => None,
            };
            queue.begun = queue.begun.saturating_sub(1);
            if queue.running == Some(seq) {
                queue.running = None;
            }
            if queue.last_writer == Some(seq) {
                queue.last_writer = None;
            }
            self.decided.remove(&seq);
            self.dropped_sql.extend(self.decided_sql.remove(&seq));
            let Some(how) = how else { continue };
            queue.awaited = queue.awaited.saturating_sub(usize::from(how.is_awaited()));
            if row == Row::Unstored {
                self.inserts.undecided(seq);
            }
            unblock(&mut self.blocked, order, seq);
        }
        if let Some(spilled @ (Spilled::Wakes | Spilled::Waits { .. })) = self.spilled.get_mut(&order) {
            // Whoever was to wake may not wait any more.
            *spilled = Spilled::Follows { from_start: true };
        }
        self.tidy(order);
        self.arm(order, now);
    }
}

/// A message does not die after all: its key goes on, unless an earlier death stands.
pub(super) fn unblock(blocked: &mut BTreeMap<OrderKey, Blocked>, order: OrderBy, seq: Seq) {
    let Some(key) = order.key() else { return };
    let Some(of) = blocked.get_mut(&key).filter(|of| of.by == Some(seq)) else { return };
    if of.another_stands {
        *of = Blocked { how: of.how, by: None, written: true, another_stands: false };
    } else {
        blocked.remove(&key);
    }
}

/// Gives the death behind which a message is parked, where that may still come to nothing.
fn parked_behind<E>(blocked: &BTreeMap<OrderKey, Blocked>, order: OrderBy, end: &EndedBy<E>) -> Option<Seq> {
    let EndedBy::Host(DeadReason::Parked, _) = end else { return None };
    let blocked = order.key().and_then(|key| blocked.get(&key))?;
    blocked.by.filter(|_| !blocked.written && !blocked.another_stands)
}

fn end_of<E>(end: &EndedBy<E>) -> Ending {
    match end {
        EndedBy::Call(decision) => decision.ending,
        EndedBy::Host(reason, _) => Ending::Dead(*reason),
    }
}
