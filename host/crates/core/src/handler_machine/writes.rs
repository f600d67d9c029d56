//! Settlements: transactions side by side, each of lanes of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::HandlerMachine;
use super::command::{Command, Remark, Write};
use super::doubt::Stuck;
use super::event::{Failure, SqlOutcome, WriteOutcome, Written};
use crate::ids::{CallId, LaneId, Lease, RereadCount, Seq, WriteId};
use crate::lane::{Lane, Phase, Share};
use crate::time::Moment;

/// Transactions of a handler that settle at once.
const WRITES_MAX: usize = 3;
/// Minimum gap between settlements while one is in flight and the backlog is small.
const SETTLE_APART: Duration = Duration::from_millis(10);
/// Fewer messages than this are not divided over two transactions.
const ROWS_MIN: usize = 100;

impl<S: Clone, E: Clone> HandlerMachine<S, E> {
    /// Settles what calls' own transactions settle.
    pub(super) fn plan_sql(&mut self, now: Moment) {
        let may_ask = self.may_ask(now);
        for lane in self.lanes.values_mut() {
            self.commands.extend(lane.dropped_sql.drain(..).map(Command::DropSql));
            let lease = lane.lease;
            if may_ask {
                let taken = lane.take_sql();
                self.commands.extend(taken.into_iter().map(|(call, settled)| Command::SettleSql {
                    call,
                    lease,
                    settled,
                }));
            }
        }
    }

    /// Begins settlements of what is due.
    pub(super) fn plan_writes(&mut self, now: Moment) {
        while self.writes.len() < WRITES_MAX && self.may_write(now) {
            let due: usize = self.writable(now).map(|lane| lane.write_due(now)).sum();
            if due == 0 {
                return;
            }
            let enough = if self.version.single { 1 } else { self.settings.settle_rows_max / 2 };
            if !self.writes.is_empty() && now < self.settle_apart && due < enough {
                return;
            }
            if !self.write(due, now) {
                return;
            }
        }
    }

    /// Says whether Postgres may be asked to settle.
    fn may_write(&self, now: Moment) -> bool {
        self.may_ask(now) && now >= self.write_backoff.until
    }

    fn writable(&self, now: Moment) -> impl Iterator<Item = &Lane<S, E>> {
        self.lanes.values().filter(move |lane| lane.may_write() && lane.write_due(now) > 0)
    }

    /// Begins one settlement, of the lanes with the oldest messages: half of all for the first of several.
    fn write(&mut self, due: usize, now: Moment) -> bool {
        let rows_max = self.settings.settle_rows_max.max(1);
        let enough = if self.writes.is_empty() {
            due.div_ceil(2).clamp(ROWS_MIN, rows_max.max(ROWS_MIN))
        } else {
            rows_max
        };
        let mut lanes: Vec<(Seq, LaneId, bool)> = self
            .writable(now)
            .map(|lane| (lane.oldest_due(), lane.lease.lane, lane.write_limit.is_some()))
            .collect();
        lanes.sort_unstable();
        let id = WriteId(self.next_id());
        // Three of them, and what is decided meanwhile, are what calls may leave.
        let bytes_max = (self.settings.effects_bytes_max / 4).max(1);
        let (mut written, mut rows, mut bytes) = (BTreeMap::new(), 0, 0);
        for (_, lane_id, is_limited) in lanes {
            // What was refused is found alone.
            if rows >= enough || bytes >= bytes_max || (is_limited && !written.is_empty()) {
                continue;
            }
            let share = Share {
                rows_max: rows_max.saturating_sub(rows),
                bytes_max: bytes_max.saturating_sub(bytes),
                single: self.version.single,
            };
            let Some(lane) = self.lanes.get_mut(&lane_id) else { continue };
            let Some(write) = lane.take_write(id, share, now) else { continue };
            let inserted = write.insert.as_ref().map_or(0, |insert| insert.rows.len().max(1));
            rows += write.settled.len() + inserted;
            bytes += write.bytes();
            written.insert(lane_id, write);
            if is_limited || self.version.single {
                break;
            }
        }
        if written.is_empty() {
            return false;
        }
        self.settle_apart = now + SETTLE_APART;
        let lanes: Vec<_> = written.into_values().collect();
        self.writes.insert(id, lanes.iter().map(|write| write.lease).collect());
        self.commands.push(Command::Write(Write { id, lanes }));
        true
    }

    pub(super) fn write_due_at(&self) -> Option<Moment> {
        let lanes = self.lanes.values().filter(|lane| lane.may_write());
        let due = lanes.filter_map(Lane::next_write).min().filter(|_| self.writes.len() < WRITES_MAX)?;
        let apart = if self.writes.is_empty() { due } else { due.max(self.settle_apart) };
        Some(apart.max(self.postgres.until).max(self.write_backoff.until))
    }

    /// The lanes of a settlement that are still as they were then.
    fn lanes_of(&mut self, leases: &[Lease]) -> Vec<LaneId> {
        let is_same = |lease: &&Lease| {
            self.lanes.get(&lease.lane).is_some_and(|lane| {
                lane.lease == **lease && matches!(lane.phase, Phase::Working | Phase::Closing { .. })
            })
        };
        leases.iter().filter(is_same).map(|lease| lease.lane).collect()
    }

    pub(super) fn written(&mut self, id: WriteId, outcome: WriteOutcome<E>, now: Moment) {
        let Some(leases) = self.writes.remove(&id) else { return };
        for lease in &leases {
            let lane = self.lanes.get_mut(&lease.lane).filter(|lane| lane.in_flight.write == Some(id));
            if let Some(lane) = lane {
                lane.in_flight.write = None;
            }
        }
        let lanes = self.lanes_of(&leases);
        match outcome {
            WriteOutcome::Done(written) => {
                self.postgres.over();
                self.write_backoff.over();
                self.stuck = Stuck::default();
                self.committed(&lanes, &written, now);
            }
            WriteOutcome::LanesLost(lost) => {
                self.put_back(&lanes);
                for id in lost.iter().filter(|id| lanes.contains(*id)) {
                    self.commands.push(Command::Say(Remark::LaneLost(*id)));
                    self.drop_lane(*id, now);
                }
            }
            WriteOutcome::StateLost(lost) => {
                self.postgres.over();
                for id in &lanes {
                    let of_lane = seqs_of(&lost, *id);
                    if let Some(lane) = self.lanes.get_mut(id) {
                        lane.state_lost(&of_lane, now);
                    }
                }
            }
            WriteOutcome::Touched(touched) => {
                self.postgres.over();
                self.put_back(&lanes);
                for (id, count) in touched.iter().filter(|(id, _)| lanes.contains(*id)) {
                    if let Some(lane) = self.lanes.get_mut(id) {
                        lane.reread_wanted = lane.reread_wanted.max(*count);
                    }
                }
            }
            WriteOutcome::OffsetMoved(moved) => {
                for id in &lanes {
                    let Some(lane) = self.lanes.get_mut(id) else { continue };
                    if !moved.contains(id) {
                        lane.not_written();
                        continue;
                    }
                    lane.offset_moved(now);
                    let partition = lane.partition.clone();
                    self.commands.push(Command::Say(Remark::OffsetMoved(partition.clone())));
                    self.displaced(&[partition], now);
                }
            }
            WriteOutcome::BadData(instead) => self.refused(&lanes, instead, now),
            WriteOutcome::NotDone(Failure::TooMuch) => {
                self.lanes_mut(&lanes).for_each(Lane::too_much);
                self.write_backoff.failed(now);
            }
            WriteOutcome::NotDone(Failure::Away) => {
                self.put_back(&lanes);
                self.write_backoff.failed(now);
            }
            WriteOutcome::Unknown => self.doubt(&leases, now),
        }
    }

    fn committed(&mut self, lanes: &[LaneId], written: &Written, now: Moment) {
        for id in lanes {
            let Some(lane) = self.lanes.get_mut(id) else { continue };
            let (missed, duplicates) = (seqs_of(&written.missed, *id), seqs_of(&written.duplicates, *id));
            lane.written(&missed, &duplicates, now);
            let seen = written.rereads.get(id).copied().unwrap_or(RereadCount(0));
            lane.reread_wanted = lane.reread_wanted.max(seen);
        }
        if written.emitted {
            self.commands.push(Command::WakeRelay);
        }
    }

    fn put_back(&mut self, lanes: &[LaneId]) {
        self.lanes_mut(lanes).for_each(Lane::not_written);
    }

    fn lanes_mut(&mut self, lanes: &[LaneId]) -> impl Iterator<Item = &mut Lane<S, E>> {
        self.lanes.iter_mut().filter(|(id, _)| lanes.contains(id)).map(|(_, lane)| lane)
    }

    /// Takes in the database's refusal of something in a settlement: its lanes settle less at once, and a
    /// record that is refused alone stops its partition.
    fn refused(&mut self, lanes: &[LaneId], instead: Option<super::event::Decision<E>>, now: Moment) {
        self.postgres.over();
        let mut instead = instead.filter(|_| lanes.len() == 1);
        for id in lanes {
            let Some(lane) = self.lanes.get_mut(id) else { continue };
            let Some(offset) = lane.refused(instead.take(), now) else { continue };
            let partition = lane.partition.clone();
            lane.offset_moved(now);
            let remark = Remark::RecordRefused { partition: partition.clone(), offset };
            self.commands.push(Command::Say(remark));
            self.displaced(std::slice::from_ref(&partition), now);
            if let Some(of) = self.partitions.get_mut(&partition) {
                of.position = super::partitions::Position::Stopped;
            }
        }
    }

    pub(super) fn sql_settled(&mut self, call: CallId, outcome: SqlOutcome<E>, now: Moment) {
        let owner = self.lanes.values_mut().find(|lane| lane.in_flight.sql.contains(&call));
        let Some(lane) = owner else { return };
        let (lease, id) = (lane.lease, lane.lease.lane);
        let Some(seq) = lane.sql_under_way(call) else {
            lane.in_flight.sql.remove(&call);
            return;
        };
        match outcome {
            SqlOutcome::Done { rereads, emitted } => {
                lane.sql_written(call, seq, now);
                lane.reread_wanted = lane.reread_wanted.max(rereads);
                self.postgres.over();
                self.stuck = Stuck::default();
                if emitted {
                    self.commands.push(Command::WakeRelay);
                }
            }
            SqlOutcome::LaneLost => {
                self.commands.push(Command::Say(Remark::LaneLost(id)));
                self.drop_lane(id, now);
            }
            SqlOutcome::Missed => lane.sql_not_written(call, seq, (true, None), now),
            SqlOutcome::Again => lane.sql_not_written(call, seq, (false, None), now),
            SqlOutcome::Instead(decision) => lane.sql_not_written(call, seq, (false, Some(decision)), now),
            SqlOutcome::Unknown => {
                lane.in_flight.sql.remove(&call);
                self.doubt(&[lease], now);
            }
        }
    }
}

fn seqs_of(rows: &BTreeSet<(LaneId, Seq)>, lane: LaneId) -> BTreeSet<Seq> {
    rows.iter().filter(|(of, _)| *of == lane).map(|(_, seq)| *seq).collect()
}
