//! Choice of what is settled next of a lane.

use std::sync::Arc;

use super::inserts::{Most, QueuedRow};
use super::items::{Row, Stage};
use super::{Lane, Phase, PolledBatch, UnderWay, Weight};
use crate::handler_machine::command::{Insert, LaneWrite, NewRow, NewRowState, Settled, Spill};
use crate::ids::{CallId, Seq, WriteId};
use crate::time::Moment;

/// Rows that one settlement marks as held.
const SPILL_MAX: usize = 2000;

/// Bounds of one settlement's share of a lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    /// The most messages.
    pub(crate) rows_max: usize,
    /// The most bytes of what is written, but for those of the first message.
    pub(crate) bytes_max: usize,
    /// Each message is settled alone.
    pub(crate) single: bool,
}

impl<S: Clone, E: Clone> Lane<S, E> {
    /// Tells whether a settlement of it may begin.
    pub(crate) fn may_write(&self) -> bool {
        let writes = matches!(self.phase, Phase::Working | Phase::Closing { .. });
        let alone = self.in_flight.read.is_some_and(|read| read.exclusive);
        writes && self.in_flight.write.is_none() && !alone
    }

    /// Returns how many messages are to be settled now; an offset alone counts, and so do rows that are to be
    /// marked.
    pub(crate) fn write_due(&self, now: Moment) -> usize {
        let records = if self.rereads() { 0 } else { self.inserts.due(now) };
        self.decided.len() + records + usize::from(!self.to_spill.is_empty())
    }

    /// Returns when something is to be settled.
    pub(crate) fn next_write(&self) -> Option<Moment> {
        let now = !self.decided.is_empty() || !self.to_spill.is_empty();
        if now { Some(Moment(0)) } else { self.inserts.next_due().filter(|_| !self.rereads()) }
    }

    /// The place of the oldest message that is to be settled.
    pub(crate) fn oldest_due(&self) -> Seq {
        let decided = self.decided.first().copied();
        let queued = self.inserts.rows().next().map(QueuedRow::seq);
        decided.into_iter().chain(queued).min().unwrap_or(Seq(i64::MAX))
    }

    /// Takes what is settled now. Of each key that is a prefix of what is decided: rows go in the order of their
    /// places, and records only with all rows that are decided.
    pub(crate) fn take_write(&mut self, id: WriteId, share: Share, now: Moment) -> Option<LaneWrite<E>> {
        let limit = self.write_limit.unwrap_or(usize::MAX).min(if share.single { 1 } else { share.rows_max });
        let mut bytes = 0;
        let mut fits = |seq: &&Seq| {
            let is_first = bytes == 0;
            bytes += self.items.get(**seq).map_or(0, |item| item.stage.effects());
            is_first || bytes <= share.bytes_max
        };
        let seqs: Vec<Seq> = self.decided.iter().take(limit).take_while(&mut fits).copied().collect();
        let room = limit.saturating_sub(seqs.len());
        let whole = seqs.len() == self.decided.len() && (!share.single || seqs.is_empty());
        let batch = if whole && !self.rereads() {
            let items = &self.items;
            let effects = |seq: Seq| items.get(seq).map_or(0, |item| item.stage.effects());
            let bytes_max = share.bytes_max.saturating_sub(bytes);
            let most = Most { rows_max: room, bytes_max, divide: self.write_limit.is_some() };
            self.inserts.take_due(now, most, |row| row.message.bytes() + effects(row.seq()))
        } else {
            None
        };
        let spill: Vec<(Spill, _)> = self
            .to_spill
            .iter()
            .take(SPILL_MAX)
            .map(|(seq, (wakes, order))| (Spill { seq: *seq, wakes: *wakes }, *order))
            .collect();
        if seqs.is_empty() && batch.is_none() && spill.is_empty() {
            return None;
        }
        for (spill, _) in &spill {
            self.to_spill.remove(&spill.seq);
        }
        let settled = seqs.iter().filter_map(|seq| self.settle(*seq)).collect();
        let insert = batch.as_ref().map(|batch| self.insert(batch));
        let spills = spill.iter().map(|(spill, _)| *spill).collect();
        let weight = batch.as_ref().map_or(Weight::default(), PolledBatch::weight);
        self.under_way = Some(UnderWay { settled: seqs, batch, spill, weight });
        self.in_flight.write = Some(id);
        self.read_last = false;
        let reread_seen = self.reread_seen;
        Some(LaneWrite { lease: self.lease, settled, insert, spill: spills, reread_seen })
    }

    /// A decided message goes into a settlement.
    fn settle(&mut self, seq: Seq) -> Option<Settled<E>> {
        self.decided.remove(&seq);
        let item = self.items.get(seq)?;
        let Stage::Decided(how) = &item.stage else { return None };
        let settled =
            Settled { message: Arc::clone(&item.message), was_held: item.row == Row::Held, how: how.clone() };
        self.items.set_stage(seq, Stage::Writing(settled.how.clone()));
        Some(settled)
    }

    fn insert(&mut self, batch: &PolledBatch) -> Insert<E> {
        let rows = batch.rows.iter().map(|row| self.new_row(row)).collect();
        Insert { partition: self.partition.clone(), epoch: batch.epoch, from: batch.from, to: batch.to, rows }
    }

    fn new_row(&mut self, row: &QueuedRow) -> NewRow<E> {
        let item = self.items.get(row.seq()).filter(|_| row.is_kept());
        let as_what = match item {
            None if row.held => NewRowState::Held,
            None => NewRowState::Pending,
            Some(item) => match &item.stage {
                Stage::Waiting { .. } | Stage::Writing(_) => NewRowState::Pending,
                Stage::Running { .. } => NewRowState::Running,
                // Its own transaction settles it, once it has its row.
                Stage::Decided(how) if how.has_sql() => NewRowState::Running,
                Stage::Decided(how) => {
                    let how = how.clone();
                    self.items.set_stage(row.seq(), Stage::Writing(how.clone()));
                    NewRowState::Ended(how)
                }
            },
        };
        NewRow { message: Arc::clone(&row.message), unfit: row.unfit.clone(), bare: row.bare, as_what }
    }

    /// Takes the messages that their own transactions settle now: all before them in their keys are settled.
    pub(crate) fn take_sql(&mut self) -> Vec<(CallId, Settled<E>)> {
        let alone = self.in_flight.read.is_some_and(|read| read.exclusive);
        if self.decided_sql.is_empty()
            || alone
            || !matches!(self.phase, Phase::Working | Phase::Closing { .. })
        {
            return Vec::new();
        }
        let first = |seq: &Seq| {
            let item = self.items.get(*seq).filter(|item| item.row != Row::Unstored)?;
            let queue = self.keys.get(&item.order)?;
            (queue.seqs.front() == Some(seq)).then_some(*seq)
        };
        let due: Vec<Seq> = self.decided_sql.keys().filter_map(first).collect();
        let mut taken = Vec::new();
        for seq in due {
            let Some(call) = self.decided_sql.remove(&seq) else { continue };
            if let Some(settled) = self.settle(seq) {
                self.in_flight.sql.insert(call);
                self.sql.insert(call, seq);
                taken.push((call, settled));
            }
        }
        taken
    }
}
