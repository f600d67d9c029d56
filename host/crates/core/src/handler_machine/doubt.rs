//! Doubts and standstills: a lane of which something is not known, or which does not go on, is taken anew and
//! read again.
//!
//! A lane on which something is still open is passed by, and asked for again from 50 ms on, doubling up to the time
//! that a command may take. So whoever may still write for it has ended when it is taken, and what is read afterwards
//! is the truth.

use std::collections::BTreeSet;
use std::time::Duration;

use super::HandlerMachine;
use super::calls::KeptEnd;
use super::command::{Command, Remark};
use super::event::{Outcome, TakenLane};
use crate::ids::{LaneId, Lease};
use crate::lane::{Lane, Phase};
use crate::time::Moment;

/// The first wait before a lane in doubt is asked for again; it doubles up to the longest that a command takes.
const RETAKE_EVERY: Duration = Duration::from_millis(50);

/// Time that is counted between two looks at what does not go on: a process that was frozen has not waited.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// A time in which nothing of a handler ended.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Stuck {
    time: Duration,
    looked_at: Option<Moment>,
}

impl Stuck {
    /// Gives how long it is by now.
    fn look(&mut self, now: Moment) -> Duration {
        let since = self.looked_at.replace(now).map_or(Duration::ZERO, |at| now.since(at));
        self.time += since.min(LOOK_MAX);
        self.time
    }
}

impl<S: Clone, E: Clone> HandlerMachine<S, E> {
    /// Puts these lanes in doubt: the result of a command for them is not known.
    pub(super) fn doubt(&mut self, leases: &[Lease], now: Moment) {
        let mut lanes = BTreeSet::new();
        for lease in leases {
            let lane = self.lanes.get(&lease.lane).filter(|lane| lane.lease == *lease);
            let in_doubt =
                lane.is_some_and(|lane| !matches!(lane.phase, Phase::Doubtful { .. } | Phase::Releasing));
            if in_doubt {
                lanes.insert(lease.lane);
            }
        }
        for id in &lanes {
            self.doubt_lane(*id, now);
        }
        if !lanes.is_empty() {
            self.commands.push(Command::Say(Remark::Doubt(lanes)));
        }
    }

    fn doubt_lane(&mut self, id: LaneId, now: Moment) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let closing = matches!(lane.phase, Phase::Closing { .. });
        // How a call ended that may be made once is known here only.
        let ends = lane.ends_known_here().map(|(seq, how)| ((id, seq), KeptEnd::Decided(how.clone())));
        self.kept_ends.extend(ends);
        lane.doubt(now, closing);
        let partition = lane.partition.clone();
        if self.partitions.get(&partition).is_some_and(|of| of.lane == Some(id)) {
            self.displaced(&[partition], now);
        }
    }

    /// Takes lanes in doubt anew, once nothing is under way for them.
    fn plan_retakes(&mut self, now: Moment) {
        if !self.may_ask(now) {
            return;
        }
        let mut retake = Vec::new();
        for (id, lane) in &mut self.lanes {
            let Phase::Doubtful { retry_at, .. } = lane.phase else { continue };
            if retry_at <= now && lane.in_flight.is_empty() {
                lane.in_flight.own = true;
                retake.push(*id);
            }
        }
        if !retake.is_empty() {
            self.commands.push(Command::Retake(retake));
        }
    }

    pub(super) fn retaken(&mut self, asked: &[LaneId], outcome: Outcome<Vec<TakenLane>>, now: Moment) {
        let taken = match outcome {
            Outcome::Done(taken) => {
                self.postgres.over();
                taken
            }
            Outcome::NotDone(_) | Outcome::Unknown => {
                self.postgres.failed(now);
                Vec::new()
            }
        };
        let limit = self.settings.command_limit;
        for id in asked {
            let Some(lane) = self.lanes.get_mut(id) else { continue };
            lane.in_flight.own = false;
            if let Phase::Doubtful { tries, closing, .. } = lane.phase {
                let wait = RETAKE_EVERY.saturating_mul(1 << tries.min(16)).min(limit);
                lane.phase =
                    Phase::Doubtful { retry_at: now + wait, tries: tries.saturating_add(1), closing };
            }
        }
        for taken in taken {
            self.seqs_known(taken.last_seq);
            let Some(lane) = self.lanes.get_mut(&taken.lease.lane) else { continue };
            let Phase::Doubtful { closing, .. } = lane.phase else { continue };
            let (id, partition) = (taken.lease.lane, taken.partition.clone());
            lane.reopen(taken, now);
            let owes_ends = self.owes_ends(id, now);
            if closing && owes_ends {
                self.hold_partition(partition, id, now);
            } else if let Some(lane) = self.lanes.get_mut(&id).filter(|_| closing || self.stop_by.is_some()) {
                lane.phase = Phase::Closing { by: now };
            }
        }
    }

    /// Gives up calls that have all places and do not end, as native ones may that block: their ends are ignored, and
    /// their messages are not called again beside them.
    fn give_up_calls(&mut self, closed: bool, now: Moment) {
        let full = self.calls.len() >= self.version.concurrency;
        if closed || !full || !self.lanes.values_mut().any(|lane| lane.first_ready(now).is_some()) {
            self.stuck = Stuck::default();
            return;
        }
        // A call has twice its deadline: once for its place, once to run.
        let since = self.stuck.look(now);
        if since < self.settings.expiry + 2 * self.version.deadline {
            return;
        }
        self.stuck = Stuck::default();
        self.commands.push(Command::Say(Remark::CallsGivenUp { calls: self.calls.len(), since }));
        self.calls.clear();
        let leases: Vec<Lease> = self.lanes.values().map(|lane| lane.lease).collect();
        self.doubt(&leases, now);
    }

    /// Takes lanes anew of which something could go on and does not.
    pub(super) fn watch(&mut self, now: Moment) {
        self.plan_retakes(now);
        let closed = self.admission.paused
            || self.admission.is_open()
            || !self.admission.outlasts(self.version.deadline, now);
        self.give_up_calls(closed, now);
        let closed = closed || self.effects_full || self.calls.len() >= self.version.concurrency;
        let away = !self.may_ask(now);
        let mut stalled = Vec::new();
        for (id, lane) in &mut self.lanes {
            let waits_for = if away { None } else { waits_for(lane, closed, now) };
            let Some(waits_for) = waits_for else {
                lane.progress_at = now;
                continue;
            };
            let since = now.since(lane.progress_at);
            if since >= self.settings.expiry {
                stalled.push((*id, lane.lease, waits_for, since));
            }
        }
        for (lane, lease, waits_for, since) in stalled {
            self.commands.push(Command::Say(Remark::Stalled { lane, waits_for, since }));
            self.doubt(&[lease], now);
        }
    }

    pub(super) fn watch_due(&self) -> Option<Moment> {
        let retakes = self.lanes.values().filter_map(|lane| match lane.phase {
            Phase::Doubtful { retry_at, .. } => Some(retry_at),
            Phase::Opening { .. } | Phase::Working | Phase::Closing { .. } | Phase::Releasing => None,
        });
        let watched = self.lanes.values().map(|lane| lane.progress_at + self.settings.expiry);
        retakes.chain(watched).filter(|at| *at > self.stepped_at).min()
    }
}

/// Gives what of a lane could go on.
fn waits_for<S: Clone, E: Clone>(lane: &mut Lane<S, E>, closed: bool, now: Moment) -> Option<&'static str> {
    if lane.phase != Phase::Working {
        return None;
    }
    if lane.in_flight.write.is_some() {
        return Some("a settlement");
    }
    if lane.in_flight.read.is_some() {
        return Some("a read");
    }
    if lane.write_due(now) > 0 {
        return Some("a settlement to begin");
    }
    (!closed && lane.first_ready(now).is_some()).then_some("a call to begin")
}
