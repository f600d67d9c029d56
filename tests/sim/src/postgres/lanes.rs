//! Taking, giving back and marking lanes.

use std::collections::BTreeMap;

use mailroom_core::handler_machine::event::TakenLane;
use mailroom_core::ids::{LaneId, LaneToken, Lease, RereadCount, Seq, TopicPartition};

use super::locks::{Mode, Place};
use super::table::{NOBODY, Tx};
use super::{Flow, LaneRow, Postgres, Session};

/// A lane that is free for so long is anybody's.
const LEFT_FREE_MILLIS: u64 = 1000;

/// Selection of the lanes to take.
#[derive(Debug, Clone)]
pub(crate) enum Taking {
    /// Lanes of these partitions, made where missing; owners of the others are asked for them.
    Partitions(Vec<TopicPartition>),
    /// Lanes that nobody has, up to a share beyond what this host has.
    Free { held: usize },
    /// Lanes of our own.
    Ours(Vec<LaneId>),
}

/// Facts that a taking keeps from one statement to the next.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct TakingNotes {
    /// Lanes that were locked, each with the owner that died with it.
    pub(super) locked: Vec<(LaneId, Option<Session>)>,
}

impl TakingNotes {
    /// Tells whether no lane was free.
    pub(crate) fn is_nothing(&self) -> bool {
        self.locked.is_empty()
    }
}

impl Postgres {
    /// One statement of a taking.
    pub(crate) fn take(
        &mut self,
        tx: Tx,
        session: Session,
        now: u64,
        what: &Taking,
        notes: &mut TakingNotes,
        step: usize,
    ) -> Flow<Vec<TakenLane>> {
        match step {
            0 => self.check_host(tx, session, now, what),
            1 => {
                // One that was buried meanwhile takes nothing.
                if self.hosts.get(tx, &session).is_some() {
                    self.select_free(tx, session, now, what, notes);
                }
                Flow::Next
            }
            2 => self.own(tx, session, notes),
            3 => self.count_crashes(tx, now, notes),
            _ => self.want(tx, session, what, notes),
        }
    }

    fn check_host(&mut self, tx: Tx, session: Session, now: u64, what: &Taking) -> Flow<Vec<TakenLane>> {
        if let Taking::Partitions(partitions) = what {
            self.make_lanes(now, partitions);
        }
        let locked = self.locks.lock(tx, Place::Host(session), Mode::KeyShare);
        locked.map_or_else(Flow::Wait, |()| Flow::Next)
    }

    /// A statement and a transaction of its own.
    fn make_lanes(&mut self, now: u64, partitions: &[TopicPartition]) {
        for partition in partitions {
            if self.lane_of(partition).is_none() {
                let tx = self.begin();
                let last = self.lanes.rows(NOBODY).next_back().map_or(0, |(id, _)| id.0);
                let row = LaneRow {
                    partition: partition.clone(),
                    owner: None,
                    token: LaneToken(0),
                    wanted_by: None,
                    free_since: Some(now),
                    started_to: Seq(0),
                    rereads: RereadCount(0),
                };
                self.lanes.put(tx, LaneId(last + 1), Some(row));
                self.end(tx, true);
            }
        }
    }

    fn select_free(&mut self, tx: Tx, session: Session, now: u64, what: &Taking, notes: &mut TakingNotes) {
        let is_dead = |owner: Session| self.hosts.get(tx, &owner).is_none();
        let free = |lane: &LaneRow| lane.owner.is_none_or(is_dead);
        let candidates: Vec<(LaneId, Option<Session>)> = match what {
            Taking::Partitions(partitions) => {
                let wanted = self.lanes.rows(tx).filter(|(_, lane)| partitions.contains(&lane.partition));
                let open = wanted.filter(|(_, lane)| lane.owner == Some(session) || free(lane));
                open.map(|(id, lane)| (*id, lane.owner.filter(|owner| *owner != session))).collect()
            }
            Taking::Ours(lanes) => {
                let ours = self
                    .lanes
                    .rows(tx)
                    .filter(|(id, lane)| lanes.contains(id) && lane.owner == Some(session));
                ours.map(|(id, _)| (*id, None)).collect()
            }
            Taking::Free { held } => {
                let living = self.hosts.rows(tx).filter(|(_, host)| host.expires_at >= now).count().max(1);
                let share = self.lanes.rows(tx).count().div_ceil(living).saturating_sub(*held);
                let open = self.lanes.rows(tx).filter(|(_, lane)| free(lane)).enumerate();
                let due = open.filter(|(place, (_, lane))| {
                    *place < share || lane.free_since.is_some_and(|since| since + LEFT_FREE_MILLIS < now)
                });
                due.map(|(_, (id, lane))| (*id, lane.owner)).collect()
            }
        };
        for (id, dead) in candidates {
            if self.locks.try_lock(tx, Place::Lane(id), Mode::Update) {
                notes.locked.push((id, dead));
            }
        }
    }

    fn own(&mut self, tx: Tx, session: Session, notes: &TakingNotes) -> Flow<Vec<TakenLane>> {
        for (id, _) in &notes.locked {
            self.lanes.update(tx, id, |lane| {
                lane.owner = Some(session);
                lane.token = LaneToken(lane.token.0 + 1);
                lane.wanted_by = None;
                lane.free_since = None;
            });
        }
        Flow::Next
    }

    fn want(&mut self, tx: Tx, session: Session, what: &Taking, notes: &TakingNotes) -> Flow<Vec<TakenLane>> {
        if let Taking::Partitions(partitions) = what {
            let others = self.lanes.rows(tx).filter(|(_, lane)| {
                partitions.contains(&lane.partition)
                    && lane.owner.is_some_and(|owner| owner != session)
                    && lane.wanted_by != Some(session)
            });
            for id in others.map(|(id, _)| *id).collect::<Vec<_>>() {
                if let Err(blocker) = self.locks.lock(tx, Place::Lane(id), Mode::NoKeyUpdate) {
                    return Flow::Wait(blocker);
                }
                self.lanes.update(tx, &id, |lane| lane.wanted_by = Some(session));
            }
        }
        let last_seq = Seq(self.sequence);
        let taken = notes.locked.iter().filter_map(|(id, dead)| {
            let lane = self.lanes.get(tx, id)?;
            Some(TakenLane {
                lease: Lease { lane: *id, token: lane.token },
                partition: lane.partition.clone(),
                rereads: lane.rereads,
                abandoned: dead.is_some(),
                last_seq,
            })
        });
        Flow::Commit(taken.collect())
    }

    pub(crate) fn release(&mut self, tx: Tx, now: u64, leases: &[Lease]) -> Flow<()> {
        for lease in leases {
            if self.lanes.get(tx, &lease.lane).is_none_or(|lane| lane.token != lease.token) {
                continue;
            }
            if let Err(blocker) = self.locks.lock(tx, Place::Lane(lease.lane), Mode::NoKeyUpdate) {
                return Flow::Wait(blocker);
            }
            self.lanes.update(tx, &lease.lane, |lane| {
                lane.owner = None;
                lane.free_since = Some(now);
            });
        }
        Flow::Commit(())
    }

    pub(crate) fn mark(&mut self, tx: Tx, marks: &[(Lease, Seq)]) -> Flow<BTreeMap<LaneId, Seq>> {
        let mut marked = BTreeMap::new();
        for (lease, up_to) in marks {
            if self.lanes.get(tx, &lease.lane).is_none_or(|lane| lane.token != lease.token) {
                continue;
            }
            if let Err(blocker) = self.locks.lock(tx, Place::Lane(lease.lane), Mode::NoKeyUpdate) {
                return Flow::Wait(blocker);
            }
            self.lanes.update(tx, &lease.lane, |lane| lane.started_to = lane.started_to.max(*up_to));
            let lane = self.lanes.get(tx, &lease.lane);
            marked.insert(lease.lane, lane.map_or(*up_to, |lane| lane.started_to));
        }
        Flow::Commit(marked)
    }
}
