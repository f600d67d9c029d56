//! Writes: marks under their tokens, lanes that change hands, hosts' lives, what operators do.

use std::collections::BTreeMap;

use mailroom_core::relay::{MarkBatch, Marked};

use super::store::{Message, Status, Store};
use crate::postgres::locks::{Mode, Place};
use crate::postgres::table::{NOBODY, Tx};
use crate::postgres::{Flow, HostRow, Session};

/// A lane that is free for so long is anybody's.
const LEFT_FREE_MILLIS: u64 = 1000;

/// The tokens of lanes.
pub(crate) type Tokens = BTreeMap<i32, i64>;

/// Row of a lane that a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnedLane {
    pub(crate) lane: i32,
    pub(crate) token: i64,
    pub(crate) rereads: i64,
}

impl Store {
    /// Locks the lanes that have these tokens, and gives those that have not.
    fn fence(&mut self, tx: Tx, tokens: &Tokens) -> Result<Vec<i32>, Tx> {
        self.assign_id(tx);
        let mut lost = Vec::new();
        for (lane, token) in tokens {
            if self.lanes.get(tx, lane).is_none_or(|row| row.token != *token) {
                lost.push(*lane);
            } else {
                self.lock_lane(tx, *lane, Mode::KeyShare)?;
            }
        }
        Ok(lost)
    }

    /// One statement that fails a row, in a transaction of its own.
    pub(crate) fn fail(
        &mut self,
        tx: Tx,
        (lane, token): (i32, i64),
        (seq, id): (i64, u64),
    ) -> Flow<Option<Marked>> {
        match self.fence(tx, &Tokens::from([(lane, token)])) {
            Err(blocker) => return Flow::Wait(blocker),
            Ok(lost) if !lost.is_empty() => return Flow::Rollback(Some(Marked::LanesLost(lost))),
            Ok(_) => {}
        }
        if let Err(blocker) = self.end_row(tx, lane, (seq, id), Status::Failed) {
            return Flow::Wait(blocker);
        }
        Flow::Commit(None)
    }

    /// One statement of marking rows as published.
    pub(crate) fn mark(
        &mut self,
        tx: Tx,
        tokens: &Tokens,
        batch: &MarkBatch<Message>,
        is_fenced: bool,
    ) -> Flow<Marked> {
        if !is_fenced {
            return match self.fence(tx, tokens) {
                Err(blocker) => Flow::Wait(blocker),
                Ok(lost) if !lost.is_empty() => Flow::Rollback(Marked::LanesLost(lost)),
                Ok(_) => Flow::Next,
            };
        }
        for published in &batch.published {
            let row = &published.row;
            if let Err(blocker) = self.end_row(tx, row.lane, (row.seq, row.record.id), Status::Completed) {
                return Flow::Wait(blocker);
            }
        }
        Flow::Commit(Marked::Done)
    }

    /// Ends a pending row that is still the one with this id.
    fn end_row(&mut self, tx: Tx, lane: i32, (seq, id): (i64, u64), status: Status) -> Result<(), Tx> {
        let is_there =
            |store: &Self| store.outbox.get(tx, &seq).is_some_and(|row| row.lane == lane && row.is_pending());
        if !is_there(self) {
            return Ok(());
        }
        self.lock_row(tx, seq)?;
        if self.outbox.get(tx, &seq).is_some_and(|row| row.message.id == id) {
            self.outbox.update(tx, &seq, |row| row.status = status);
        }
        Ok(())
    }

    /// Takes free lanes up to a share, with what others leave free.
    pub(crate) fn take(&mut self, tx: Tx, session: Session, now: u64, held: usize) -> Flow<Taken> {
        if let Err(blocker) = self.locks.lock(tx, Place::Host(session), Mode::KeyShare) {
            return Flow::Wait(blocker);
        }
        let alive = self.hosts.rows(tx).filter(|(_, host)| host.expires_at >= now).count().max(1);
        let share = self.lanes.rows(tx).count().div_ceil(alive);
        if self.hosts.get(tx, &session).is_none() {
            return Flow::Rollback(Taken { share, lanes: Vec::new() });
        }
        let room = share.saturating_sub(held);
        let is_free = |owner: Option<Session>| owner.is_none_or(|owner| self.hosts.get(tx, &owner).is_none());
        let free = self.lanes.rows(tx).filter(|(_, lane)| is_free(lane.owner)).enumerate();
        let due = free.filter(|(place, (_, lane))| {
            *place < room || lane.free_since.is_some_and(|since| since + LEFT_FREE_MILLIS < now)
        });
        let due: Vec<i32> = due.map(|(_, (lane, _))| *lane).collect();
        let mut lanes = Vec::new();
        self.assign_id(tx);
        for lane in due {
            if self.lock_lane(tx, lane, Mode::Update).is_err() {
                continue;
            }
            self.lanes.update(tx, &lane, |row| {
                row.owner = Some(session);
                row.token += 1;
                row.free_since = None;
            });
            if let Some(row) = self.lanes.get(tx, &lane) {
                lanes.push(OwnedLane { lane, token: row.token, rereads: row.rereads });
            }
        }
        Flow::Commit(Taken { share, lanes })
    }

    pub(crate) fn release(&mut self, tx: Tx, now: u64, leases: &[(i32, i64)]) -> Flow<()> {
        self.assign_id(tx);
        for (lane, token) in leases {
            if self.lanes.get(tx, lane).is_none_or(|row| row.token != *token) {
                continue;
            }
            if let Err(blocker) = self.lock_lane(tx, *lane, Mode::NoKeyUpdate) {
                return Flow::Wait(blocker);
            }
            self.lanes.update(tx, lane, |row| (row.owner, row.free_since) = (None, Some(now)));
        }
        Flow::Commit(())
    }

    /// The lanes that the table says are the session's.
    pub(crate) fn owned(&self, session: Session) -> Vec<OwnedLane> {
        let ours = self.lanes.rows(NOBODY).filter(|(_, row)| row.owner == Some(session));
        ours.map(|(lane, row)| OwnedLane { lane: *lane, token: row.token, rereads: row.rereads }).collect()
    }

    /// Registers a session at once.
    pub(crate) fn register(&mut self, session: Session, expires_at: u64) {
        let tx = self.begin();
        self.hosts.put(tx, session, Some(HostRow { expires_at }));
        self.end(tx, true);
    }

    /// Renews a session; gives whether it is still there.
    pub(crate) fn renew(&mut self, tx: Tx, session: Session, expires_at: u64) -> Flow<bool> {
        if self.hosts.get(tx, &session).is_none() {
            return Flow::Commit(false);
        }
        if let Err(blocker) = self.locks.lock(tx, Place::Host(session), Mode::NoKeyUpdate) {
            return Flow::Wait(blocker);
        }
        self.assign_id(tx);
        Flow::Commit(self.hosts.update(tx, &session, |host| host.expires_at = expires_at))
    }

    /// Deletes the rows of others whose expiry has passed, and notes that their lanes are free.
    pub(crate) fn bury(&mut self, tx: Tx, by: Session, now: u64) {
        let expired = self.hosts.rows(tx).filter(|(id, host)| host.expires_at < now && **id != by);
        for id in expired.map(|(id, _)| *id).collect::<Vec<_>>() {
            if self.locks.try_lock(tx, Place::Host(id), Mode::Update) {
                self.assign_id(tx);
                self.hosts.put(tx, id, None);
            }
        }
        let orphans = self.lanes.rows(tx).filter(|(_, lane)| {
            lane.free_since.is_none() && lane.owner.is_some_and(|owner| self.hosts.get(tx, &owner).is_none())
        });
        for lane in orphans.map(|(lane, _)| *lane).collect::<Vec<_>>() {
            if self.lock_lane(tx, lane, Mode::NoKeyUpdate).is_ok() {
                self.lanes.update(tx, &lane, |row| row.free_since = Some(now));
            }
        }
    }

    /// Deletes a host's row at its departure.
    pub(crate) fn depart(&mut self, session: Session) {
        let tx = self.begin();
        let is_free = self.locks.try_lock(tx, Place::Host(session), Mode::Update);
        if is_free && self.hosts.get(tx, &session).is_some() {
            self.hosts.put(tx, session, None);
        }
        self.sleeps.remove(&session);
        self.end(tx, true);
    }

    /// An operator replays a dead message: it is due now, and its lane is to be looked through.
    pub(crate) fn replay(&mut self, tx: Tx, now: u64, seq: i64) -> Flow<()> {
        let Some(lane) = self.outbox.get(tx, &seq).filter(|row| row.status == Status::Failed) else {
            return Flow::Rollback(());
        };
        let lane = lane.lane;
        self.assign_id(tx);
        let locked = self.lock_lane(tx, lane, Mode::Update);
        if let Err(blocker) = locked.and_then(|()| self.lock_row(tx, seq)) {
            return Flow::Wait(blocker);
        }
        self.lanes.update(tx, &lane, |row| row.rereads += 1);
        self.outbox.update(tx, &seq, |row| {
            row.status = Status::Pending;
            row.touched = true;
            row.scheduled_at = now.max(row.created_at + 1);
        });
        Flow::Commit(())
    }
}

/// Result of a taking.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    /// Number of lanes that a host is to have.
    pub(crate) share: usize,
    pub(crate) lanes: Vec<OwnedLane>,
}
