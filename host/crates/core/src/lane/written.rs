//! Results of settlements, as lanes take them in.
//!
//! Order of a key, once a retry is committed: `hit` puts a message that is due within [`STAYS_MAX`] back to waiting,
//! and so it is the first of its key that waits (`KeyQueue::first_waiting`) and is called before those behind it. One
//! that waits longer leaves memory, and its row is found by its time. What was missed, or was a producer's duplicate,
//! has written nothing, and whatever of its key came behind it is called again.
//!
//! Where Postgres refuses a settlement as bad data, or it takes too long, half as much is tried, down to one message.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::inserts::{PolledBatch, QueuedRow};
use super::items::{Row, Stage};
use super::waiting::STAYS_MAX;
use super::{Blocked, Lane, UnderWay};
use crate::handler_machine::command::EndedBy;
use crate::handler_machine::event::{Decision, Ending};
use crate::ids::{CallId, OrderBy, Seq};
use crate::time::Moment;
use crate::verdict::decide::DeadReason;
use crate::verdict::{Blocking, LOST_MAX};

/// A lane whose settlements were refused takes this many messages again before the bound is forgotten.
const WRITE_LIMIT_ENOUGH: usize = 1024;

impl<S: Clone, E: Clone> Lane<S, E> {
    /// The settlement is no longer under way; gives what it was about.
    fn write_ended(&mut self) -> UnderWay {
        self.in_flight.write = None;
        self.under_way.take().unwrap_or_default()
    }

    /// Takes in a committed settlement, but for rows that were `missed` and records that are `duplicates`.
    pub(crate) fn written(&mut self, missed: &BTreeSet<Seq>, duplicates: &BTreeSet<Seq>, now: Moment) {
        self.progress_at = now;
        self.write_limit =
            self.write_limit.map(|limit| limit.saturating_mul(2)).filter(|limit| *limit < WRITE_LIMIT_ENOUGH);
        let under_way = self.write_ended();
        let mut keys = BTreeSet::new();
        for (spill, order) in &under_way.spill {
            keys.insert(*order);
            if spill.wakes {
                // It may be due already, and was not found before.
                self.wakes_in(Duration::ZERO, now);
            }
        }
        let rows: Vec<QueuedRow> = under_way.batch.into_iter().flat_map(|batch| batch.rows).collect();
        // What was hit has ended, whatever it stood behind: only then does a key fall behind what was not.
        for seq in &under_way.settled {
            keys.extend(self.items.get(*seq).map(|item| item.order));
            if !missed.contains(seq) {
                self.hit(*seq, now);
            }
        }
        for row in &rows {
            keys.insert(super::items::order_of(&row.message));
            if !duplicates.contains(&row.seq()) {
                self.inserted(row, now);
            }
        }
        for seq in under_way.settled.iter().filter(|seq| missed.contains(seq)) {
            self.missed(*seq, now);
        }
        for row in rows.iter().filter(|row| duplicates.contains(&row.seq())) {
            self.to_spill.remove(&row.seq());
            self.missed(row.seq(), now);
        }
        let losers = std::mem::take(&mut self.losers);
        keys.extend(losers.iter().filter_map(|seq| self.items.get(*seq).map(|item| item.order)));
        for order in keys {
            self.tidy(order);
            self.arm(order, now);
        }
    }

    /// A record has its row.
    fn inserted(&mut self, row: &QueuedRow, now: Moment) {
        let seq = row.seq();
        let Some(item) = self.items.get_mut(seq).filter(|_| row.is_kept()) else { return };
        item.row = Row::Ready;
        match &item.stage {
            Stage::Writing(_) => self.hit(seq, now),
            // Decided while its row was made.
            Stage::Decided(how) if !how.has_sql() => drop(self.decided.insert(seq)),
            Stage::Decided(_) | Stage::Running { .. } | Stage::Waiting { .. } => {}
        }
    }

    /// A message's row is as it was decided.
    fn hit(&mut self, seq: Seq, now: Moment) {
        let Some(item) = self.items.get_mut(seq) else { return };
        let Stage::Writing(how) = &item.stage else { return };
        let (order, awaited, ending, held) = (item.order, how.is_awaited(), how.ending(), how.held);
        let behind_dead = how.version.behind_dead;
        if let Some(queue) = self.keys.get_mut(&order) {
            queue.awaited = queue.awaited.saturating_sub(usize::from(awaited));
        }
        match ending {
            Ending::Waits { delay, counted } if delay <= STAYS_MAX => {
                let mut message = crate::message::Message::clone(&item.message);
                message.deliveries += 1;
                message.attempts_made += u32::from(counted);
                // Whoever ran alone and came back kills nobody.
                message.crashes = if message.crashes >= LOST_MAX { 0 } else { message.crashes };
                item.message = Arc::new(message);
                item.row = if held { Row::Held } else { Row::Ready };
                item.stored_first = false;
                self.items.set_stage(seq, Stage::Waiting { due: now + delay });
                if let Some(queue) = self.keys.get_mut(&order) {
                    queue.begun = queue.begun.saturating_sub(1);
                    queue.last_writer = queue.last_writer.filter(|writer| *writer != seq);
                }
            }
            Ending::Waits { delay, .. } => {
                self.take_out(seq);
                self.wakes_in(delay, now);
            }
            Ending::Dead(reason) => {
                self.death_stands(order, seq, reason.blocks(behind_dead));
                self.take_out(seq);
            }
            Ending::Done => drop(self.take_out(seq)),
        }
    }

    /// A death is committed, and with it what it does to its key.
    fn death_stands(&mut self, order: OrderBy, seq: Seq, how: Option<Blocking>) {
        let (Some(key), Some(how)) = (order.key(), how) else { return };
        let of = Blocked { how, by: Some(seq), written: true, another_stands: false };
        let blocked = self.blocked.entry(key).or_insert(of);
        if blocked.by == Some(seq) {
            blocked.written = true;
        } else {
            // Should the other one come to nothing, this one is still there.
            blocked.another_stands = true;
        }
    }

    /// A message leaves memory: it is out of our hands.
    fn take_out(&mut self, seq: Seq) -> Option<OrderBy> {
        let item = self.items.remove(seq)?;
        self.decided.remove(&seq);
        self.dropped_sql.extend(self.decided_sql.remove(&seq));
        self.ready.remove(&(seq, item.order));
        if let Stage::Waiting { due } = item.stage {
            self.timers.remove(&(due, item.order));
        }
        if let Some(queue) = self.keys.get_mut(&item.order) {
            queue.remove(seq, !item.is_waiting());
        }
        Some(item.order)
    }

    /// A message's row is not as we left it, or it never had one of its own: nothing of it was written, and whatever
    /// saw its writes is called again.
    fn missed(&mut self, seq: Seq, now: Moment) {
        let Some(item) = self.items.get(seq) else { return };
        let (order, awaited) = match &item.stage {
            Stage::Writing(how) | Stage::Decided(how) => (item.order, how.is_awaited()),
            Stage::Waiting { .. } | Stage::Running { .. } => (item.order, false),
        };
        super::calling::unblock(&mut self.blocked, order, seq);
        let has_row = item.row != Row::Unstored;
        self.take_out(seq);
        if has_row {
            // Somebody edited it. Where it still is to be handled, it is read again as it is now.
            self.to_spill.insert(seq, (true, order));
            self.wakes_in(Duration::ZERO, now);
        }
        if let Some(queue) = self.keys.get_mut(&order) {
            queue.awaited = queue.awaited.saturating_sub(usize::from(awaited));
        }
        self.fall_from(order, seq, now);
    }

    /// A message was not called, since its row is not as we left it.
    pub(crate) fn row_changed(&mut self, seq: Seq, now: Moment) {
        let order = self.items.get(seq).map(|item| item.order);
        self.missed(seq, now);
        if let Some(order) = order {
            self.tidy(order);
            self.arm(order, now);
        }
    }

    /// Nothing was written: everything is as before, to be settled again.
    pub(crate) fn not_written(&mut self) {
        let under_way = self.write_ended();
        for seq in under_way.settled {
            self.decided_again(seq);
        }
        if let Some(mut batch) = under_way.batch {
            for row in &batch.rows {
                let decided = self.decided_again(row.seq());
                if decided {
                    self.decided.remove(&row.seq());
                }
            }
            // What was to be marked as held once it is stored is stored so.
            for row in &mut batch.rows {
                row.held |= self.to_spill.remove(&row.seq()).is_some();
            }
            batch.undecided = self.undecided_of(&batch);
            self.inserts.put_back(batch);
        }
        for (spill, order) in under_way.spill {
            self.to_spill.insert(spill.seq, (spill.wakes, order));
        }
    }

    fn undecided_of(&self, batch: &PolledBatch) -> usize {
        let kept = batch.rows.iter().filter(|row| row.is_kept());
        kept.filter(|row| {
            let stage = self.items.get(row.seq()).map(|item| &item.stage);
            matches!(stage, Some(Stage::Waiting { .. } | Stage::Running { .. }))
        })
        .count()
    }

    fn decided_again(&mut self, seq: Seq) -> bool {
        let Some(item) = self.items.get(seq) else { return false };
        let Stage::Writing(how) = &item.stage else { return false };
        let how = how.clone();
        self.items.set_stage(seq, Stage::Decided(how));
        self.decided.insert(seq);
        true
    }

    /// Nothing was written, since what these messages rest on is not so: they and those behind them are called again.
    pub(crate) fn state_lost(&mut self, lost: &BTreeSet<Seq>, now: Moment) {
        self.not_written();
        for seq in lost {
            if let Some(order) = self.items.get(*seq).map(|item| item.order) {
                self.fall_from(order, *seq, now);
            }
        }
        // Those that lost to another of the same settlement would lose again before that one is committed: the rest is
        // settled first, without them.
        self.inserts.hurry();
        if !self.decided.is_empty() || !self.inserts.is_empty() {
            self.losers.extend(lost);
        }
    }

    /// Nothing was written, since the offset row is another's: records without rows are dropped, and polled again
    /// from wherever it stands.
    pub(crate) fn offset_moved(&mut self, now: Moment) {
        self.not_written();
        let unstored: Vec<(Seq, OrderBy)> = self
            .items
            .iter()
            .filter(|(_, item)| item.row == Row::Unstored)
            .map(|(seq, item)| (*seq, item.order))
            .collect();
        for (seq, order) in unstored {
            self.fall_from(order, seq, now);
            self.take_out(seq);
            self.tidy(order);
        }
        self.inserts = super::InsertQueue::default();
    }

    /// The database refuses something of it. Half as much is tried, down to one message; that one ends as `instead`
    /// says. Gives the offset of a record that is refused even without content.
    pub(crate) fn refused(&mut self, instead: Option<Decision<E>>, now: Moment) -> Option<i64> {
        let count = self
            .under_way
            .as_ref()
            .map_or(0, |of| of.settled.len() + of.batch.as_ref().map_or(0, |batch| batch.rows.len()));
        let alone = self.under_way.as_ref().and_then(|of| match (of.settled.as_slice(), &of.batch) {
            ([seq], None) => Some((*seq, None)),
            ([], Some(batch)) => match batch.rows.as_slice() {
                [row] => Some((row.seq(), Some((row.bare, row.message.offset)))),
                _ => None,
            },
            _ => None,
        });
        self.not_written();
        self.write_limit = Some((count / 2).max(1));
        let (seq, record) = alone?;
        match (instead, record) {
            (Some(decision), _) => {
                self.decide_instead(seq, decision, now);
                None
            }
            (None, Some((true, offset))) => Some(offset),
            (None, Some((false, _))) => {
                self.inserts.bare(seq);
                if let Some(item) = self.items.get_mut(seq) {
                    item.message = Arc::new(item.message.bare());
                    item.unfit = Some("the database refuses its content".into());
                }
                None
            }
            (None, None) => None,
        }
    }

    /// A decided message ends otherwise; those behind it saw effects that are none.
    pub(super) fn decide_instead(&mut self, seq: Seq, decision: Decision<E>, now: Moment) {
        let Some(item) = self.items.get(seq) else { return };
        let (Stage::Decided(how) | Stage::Writing(how)) = &item.stage else { return };
        let (order, version) = (item.order, Arc::clone(&how.version));
        self.fall_from(order, seq, now);
        self.decide(seq, EndedBy::Call(decision), version, None, now);
    }

    /// Nothing was written since it would have taken too long: half as much is tried.
    pub(crate) fn too_much(&mut self) {
        let count = self
            .under_way
            .as_ref()
            .map_or(0, |of| of.settled.len() + of.batch.as_ref().map_or(0, |batch| batch.rows.len()));
        self.not_written();
        self.write_limit = Some((count / 2).max(1));
    }

    /// Gives the message whose own transaction settles it.
    pub(crate) fn sql_under_way(&self, call: CallId) -> Option<Seq> {
        self.sql.get(&call).copied()
    }

    /// A message's own transaction was committed.
    pub(crate) fn sql_written(&mut self, call: CallId, seq: Seq, now: Moment) {
        self.in_flight.sql.remove(&call);
        self.sql.remove(&call);
        self.progress_at = now;
        let order = self.items.get(seq).map(|item| item.order);
        self.hit(seq, now);
        if let Some(order) = order {
            self.tidy(order);
            self.arm(order, now);
        }
    }

    /// A message's own transaction is lost. It is called again, but where it may be handed over once: then its end
    /// cannot be settled as it was.
    fn sql_lost(&mut self, order: OrderBy, seq: Seq, now: Moment) {
        let once = self.items.get(seq).and_then(|item| match &item.stage {
            Stage::Decided(how) | Stage::Writing(how) => Some(Arc::clone(&how.version)),
            Stage::Waiting { .. } | Stage::Running { .. } => None,
        });
        self.fall_from(order, seq, now);
        if let Some(version) = once.filter(|version| version.once) {
            let words = "it was handed over, may be handed over once, and its own transaction was lost";
            self.decide(seq, EndedBy::Host(DeadReason::Interrupted, words.into()), version, None, now);
        }
    }

    /// A message's own transaction came to nothing: with `missed` its row is not ours, with `instead` it ends so, else
    /// it is called again.
    pub(crate) fn sql_not_written(
        &mut self,
        call: CallId,
        seq: Seq,
        (missed, instead): (bool, Option<Decision<E>>),
        now: Moment,
    ) {
        self.in_flight.sql.remove(&call);
        self.sql.remove(&call);
        let Some(order) = self.items.get(seq).map(|item| item.order) else { return };
        match (missed, instead) {
            (true, _) => self.missed(seq, now),
            (false, Some(decision)) => self.decide_instead(seq, decision, now),
            (false, None) => self.sql_lost(order, seq, now),
        }
        self.tidy(order);
        self.arm(order, now);
    }
}
