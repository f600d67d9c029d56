//! Partitions that Kafka gave to this host: lanes are taken, positions found, and given back.

use std::collections::BTreeSet;
use std::time::Duration;

use super::HandlerMachine;
use super::command::{Command, Remark};
use super::event::{FoundPosition, Look, Outcome, TakenLane};
use crate::ids::{LaneId, LaneToken, TopicPartition};
use crate::lane::{Lane, Phase};
use crate::time::Moment;

/// Interval at which a lane is asked for that another host has.
const TAKE_EVERY: Duration = Duration::from_millis(100);
/// Interval at which a position is looked for that was not found.
const POSITION_EVERY: Duration = Duration::from_millis(500);
/// Interval at which lanes that nobody has are looked for.
const ADOPT_EVERY: Duration = Duration::from_secs(1);
/// Batches that a host which died may have run and not stored: so many are stored before they are called.
const CAREFUL_BATCHES: usize = 16;

/// Reading position of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Position {
    /// Unknown so far.
    Unknown,
    /// Being looked for.
    Looking,
    /// The partition is fetched from there.
    Fetching {
        /// The epoch of its offset row.
        epoch: i64,
        /// The offset that comes next.
        next: i64,
        /// Records before this one are stored before they are called.
        careful_to: i64,
    },
    /// An operator must act.
    Stopped,
}

/// A partition whose lane this host has or waits for.
#[derive(Debug, Clone, Hash)]
pub(super) struct Partition {
    /// Kafka gave it to this host. Otherwise its lane was free, and is worked off until another wants it.
    pub(super) assigned: bool,
    pub(super) lane: Option<LaneId>,
    pub(super) position: Position,
    taking: bool,
    pub(super) retry_at: Moment,
}

impl Partition {
    fn new(assigned: bool, now: Moment) -> Self {
        Self { assigned, lane: None, position: Position::Unknown, taking: false, retry_at: now }
    }

    pub(super) fn is_fetched(&self) -> bool {
        matches!(self.position, Position::Fetching { .. })
    }
}

impl<S: Clone, E: Clone> HandlerMachine<S, E> {
    pub(super) fn assigned(&mut self, partitions: Vec<TopicPartition>, now: Moment) {
        for partition in partitions {
            // Its lane may be ours already, since nobody had it.
            self.partitions.entry(partition).or_insert_with(|| Partition::new(true, now)).assigned = true;
        }
    }

    pub(super) fn revoked(&mut self, partitions: &[TopicPartition], now: Moment) {
        for partition in partitions {
            let lane = self.partitions.remove(partition).and_then(|of| of.lane);
            match lane {
                Some(lane) if self.owes_ends(lane, now) => self.hold_partition(partition.clone(), lane, now),
                Some(lane) => self.close_lane(lane, now),
                None => {}
            }
        }
        self.unnumbered.retain(|polled| !partitions.contains(&polled.partition));
        self.commands.push(Command::Unassign(partitions.to_vec()));
    }

    /// Tells whether ends of calls that may be made once are known here only, or soon will be, and can be settled:
    /// another owner would take their messages for interrupted.
    pub(super) fn owes_ends(&self, id: LaneId, now: Moment) -> bool {
        let is_new = self.lanes.get(&id).is_some_and(|lane| now < lane.taken_at + self.grace());
        let runs_once = || self.calls.values().any(|call| call.version.once && call.lease.lane == id);
        self.stop_by.is_none() && is_new && (self.kept_ends.keys().any(|(of, _)| *of == id) || runs_once())
    }

    /// Returns how long a lane that is given back waits for what runs.
    fn grace(&self) -> Duration {
        self.version.deadline + Duration::from_secs(1)
    }

    /// Closes a lane: running calls end and are settled, then it is given back.
    fn close_lane(&mut self, lane: LaneId, now: Moment) {
        let grace = self.grace();
        let by = self.stop_by.map_or(now + grace, |stop| stop.min(now + grace));
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.close(by, now);
        }
    }

    /// Stops fetching partitions until their positions are found again.
    pub(super) fn displaced(&mut self, partitions: &[TopicPartition], now: Moment) {
        let mut unassign = Vec::new();
        for partition in partitions {
            let Some(of) = self.partitions.get_mut(partition) else { continue };
            // Whatever displaced it may do so again.
            of.retry_at = now + TAKE_EVERY;
            if of.is_fetched() {
                unassign.push(partition.clone());
            }
            if of.position != Position::Looking {
                of.position = Position::Unknown;
            }
        }
        self.unnumbered.retain(|polled| !partitions.contains(&polled.partition));
        if !unassign.is_empty() {
            self.commands.push(Command::Unassign(unassign));
        }
    }

    /// Takes lanes that are free, and finds positions that are not known.
    pub(super) fn plan_partitions(&mut self, now: Moment) {
        if self.stop_by.is_some() || !self.may_ask(now) {
            return;
        }
        // A lane that is still being given back is taken when that is over.
        let busy: BTreeSet<TopicPartition> = self
            .lanes
            .values()
            .filter(|lane| self.partitions.get(&lane.partition).is_none_or(|of| of.lane.is_none()))
            .map(|lane| lane.partition.clone())
            .collect();
        let mut take = Vec::new();
        for (partition, of) in &mut self.partitions {
            let wants = of.assigned && of.lane.is_none() && !of.taking && of.retry_at <= now;
            if wants && !busy.contains(partition) {
                of.taking = true;
                take.push(partition.clone());
            }
        }
        if !take.is_empty() {
            self.commands.push(Command::Take(take));
        }
        if now >= self.adopt_at && !self.adopting {
            self.adopting = true;
            self.commands.push(Command::Adopt { held: self.lanes.len() });
        }
        let mut find = Vec::new();
        for (partition, of) in &mut self.partitions {
            let lane = of.lane.and_then(|lane| self.lanes.get(&lane)).filter(|lane| lane.takes_records());
            let wants = of.assigned && of.position == Position::Unknown && of.retry_at <= now;
            if let Some(lane) = lane.filter(|_| wants) {
                of.position = Position::Looking;
                find.push((partition.clone(), lane.lease));
            }
        }
        if !find.is_empty() {
            self.commands.push(Command::FindPositions(find));
        }
    }

    pub(super) fn partitions_due(&self) -> Option<Moment> {
        let waits = self.partitions.values().filter(|of| {
            of.assigned && ((of.lane.is_none() && !of.taking) || of.position == Position::Unknown)
        });
        let adopt = (!self.adopting).then_some(self.adopt_at);
        waits.map(|of| of.retry_at).filter(|at| *at > self.stepped_at).chain(adopt).min()
    }

    pub(super) fn taken(&mut self, asked: &[TopicPartition], outcome: Outcome<Vec<TakenLane>>, now: Moment) {
        let adopted = asked.is_empty();
        if adopted {
            self.adopting = false;
            self.adopt_at = now + ADOPT_EVERY;
        }
        for partition in asked {
            if let Some(of) = self.partitions.get_mut(partition) {
                of.taking = false;
                of.retry_at = now + TAKE_EVERY;
            }
        }
        let lanes = match outcome {
            Outcome::Done(lanes) => {
                self.postgres.over();
                lanes
            }
            // Where it was committed all the same, the lanes are ours, and are taken once more.
            Outcome::NotDone(_) | Outcome::Unknown => {
                self.postgres.failed(now);
                return;
            }
        };
        for taken in lanes {
            let (id, partition) = (taken.lease.lane, taken.partition.clone());
            self.seqs_known(taken.last_seq);
            self.drop_lane(id, now);
            let lane = Lane::open(taken, now);
            let of = self.partitions.entry(partition).or_insert_with(|| Partition::new(false, now));
            of.lane = Some(id);
            of.position = Position::Unknown;
            of.retry_at = now;
            self.lanes.insert(id, lane);
            if self.stop_by.is_some() {
                self.close_lane(id, now);
            }
        }
    }

    /// A lane is worked on until another host wants it, whoever has its partition.
    pub(super) fn hold_partition(&mut self, partition: TopicPartition, lane: LaneId, now: Moment) {
        let of = self.partitions.entry(partition).or_insert_with(|| Partition::new(false, now));
        of.lane = Some(lane);
        of.position = Position::Unknown;
        of.retry_at = now;
    }

    pub(super) fn positioned(&mut self, found: Vec<(TopicPartition, LaneToken, FoundPosition)>, now: Moment) {
        let careful = self.settings.batch_rows_max.saturating_mul(CAREFUL_BATCHES);
        let careful = i64::try_from(careful.saturating_add(self.settings.in_hand_max)).unwrap_or(i64::MAX);
        let mut assign = Vec::new();
        for (partition, token, position) in found {
            let Some(of) = self.partitions.get_mut(&partition).filter(|of| of.position == Position::Looking)
            else {
                continue;
            };
            let lane = of.lane.and_then(|lane| self.lanes.get(&lane));
            let lane = lane.filter(|lane| lane.lease.token == token && lane.takes_records());
            match (lane, position) {
                (Some(lane), FoundPosition::At { next, epoch }) => {
                    let careful_to = if lane.abandoned { next.saturating_add(careful) } else { 0 };
                    of.position = Position::Fetching { epoch, next, careful_to };
                    assign.push((partition, next));
                }
                (Some(_), FoundPosition::Stopped) => of.position = Position::Stopped,
                (Some(_), FoundPosition::Unknown) => {
                    of.position = Position::Unknown;
                    of.retry_at = now + POSITION_EVERY;
                }
                (None, _) => of.position = Position::Unknown,
            }
        }
        if assign.is_empty() {
            return;
        }
        let partitions: Vec<TopicPartition> = assign.iter().map(|(partition, _)| partition.clone()).collect();
        self.commands.push(Command::Assign(assign));
        // A partition keeps being paused, or not, from when it was here before.
        let like_the_others =
            if self.paused { Command::Pause(partitions) } else { Command::Resume(partitions) };
        self.commands.push(like_the_others);
    }

    /// Takes what a look at the tables saw.
    pub(super) fn looked(&mut self, look: &Look, now: Moment) {
        self.admission_looked(look);
        let (mut lost, mut wanted) = (Vec::new(), Vec::new());
        for (id, lane) in &mut self.lanes {
            if lane.taken_at >= look.began_at || lane.phase == Phase::Releasing {
                continue;
            }
            match look.lanes.get(id) {
                None => lost.push(*id),
                // In doubt the token may have risen already.
                Some(_) if matches!(lane.phase, Phase::Doubtful { .. }) => {}
                Some(of) if of.token != lane.lease.token => lost.push(*id),
                Some(of) => {
                    lane.reread_wanted = lane.reread_wanted.max(of.rereads);
                    let assigned = self.partitions.get(&lane.partition).is_some_and(|of| of.assigned);
                    if of.wanted && !assigned {
                        wanted.push((*id, lane.partition.clone()));
                    }
                }
            }
        }
        for id in lost {
            self.commands.push(Command::Say(Remark::LaneLost(id)));
            self.drop_lane(id, now);
        }
        for (id, partition) in wanted {
            if self.owes_ends(id, now) {
                continue;
            }
            self.partitions.remove(&partition);
            self.close_lane(id, now);
            // It is not for us to take again at once.
            self.adopt_at = now + 2 * ADOPT_EVERY;
        }
    }

    /// Forgets a lane that is not ours any more.
    pub(super) fn drop_lane(&mut self, id: LaneId, now: Moment) {
        let Some(mut lane) = self.lanes.remove(&id) else { return };
        lane.doubt(now, false);
        self.drop_sql(&mut lane);
        self.kept_ends.retain(|(of, _), _| *of != id);
        let partition = lane.partition.clone();
        if self.partitions.get(&partition).is_some_and(|of| of.lane == Some(id)) {
            self.displaced(std::slice::from_ref(&partition), now);
            if let Some(of) = self.partitions.get_mut(&partition) {
                of.lane = None;
                of.position = Position::Unknown;
                of.retry_at = now + TAKE_EVERY;
            }
            self.partitions.retain(|_, of| of.assigned || of.lane.is_some());
        }
    }

    /// Rolls back the transactions of calls that come to nothing.
    pub(super) fn drop_sql(&mut self, lane: &mut Lane<S, E>) {
        self.commands.extend(lane.dropped_sql.drain(..).map(Command::DropSql));
    }

    /// Everything is given back.
    pub(super) fn stop(&mut self, by: Moment, now: Moment) {
        self.stop_by = Some(by);
        let lanes: Vec<LaneId> = self.lanes.keys().copied().collect();
        for id in lanes {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.close(by, now);
            }
        }
        let partitions: Vec<TopicPartition> = self.partitions.keys().cloned().collect();
        self.partitions.clear();
        self.unnumbered.clear();
        self.commands.push(Command::Unassign(partitions));
    }

    /// Gives back lanes of which nothing is under way any more.
    pub(super) fn plan_releases(&mut self, now: Moment) {
        let mut release = Vec::new();
        let stops = self.stop_by.is_some();
        let calls = &self.calls;
        for lane in self.lanes.values_mut() {
            let Phase::Closing { by } = lane.phase else { continue };
            // How a call ended, or ends, that may be made once is known here only: it is settled, however long that
            // takes.
            let runs_once = || calls.values().any(|call| call.version.once && call.lease == lane.lease);
            let known = || lane.ends_known_here().next().is_some();
            let over = by <= now && lane.in_flight.is_empty() && (stops || !(known() || runs_once()));
            let done = lane.is_idle() || over;
            if !done {
                continue;
            }
            if by <= now && !lane.is_idle() {
                self.commands.push(Command::Say(Remark::GraceOver(lane.lease.lane)));
            }
            lane.phase = Phase::Releasing;
            release.push(lane.lease);
        }
        if !release.is_empty() {
            self.commands.push(Command::Release(release));
        }
    }

    /// Lanes were given back, or whatever came of that: the sweep finds lanes of nobody.
    pub(super) fn released(&mut self, lanes: &[LaneId]) {
        for id in lanes {
            if self.lanes.get(id).is_some_and(|lane| lane.phase == Phase::Releasing) {
                if let Some(mut lane) = self.lanes.remove(id) {
                    lane.drop_undecided_sql();
                    self.drop_sql(&mut lane);
                }
                self.kept_ends.retain(|(of, _), _| of != id);
            }
        }
    }
}
