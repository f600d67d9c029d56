//! Hosts' rows: their life is what their lanes hang on. Positions, seqs and the breaker, too.

use mailroom_core::ids::{Seq, TopicPartition};

use super::locks::{Mode, Place};
use super::table::{NOBODY, Tx};
use super::{Flow, HostRow, OffsetRow, Postgres, Session};

impl Postgres {
    /// Registers a session at once.
    pub(crate) fn register(&mut self, session: Session, worker: usize, expires_at: u64) {
        self.workers.insert(session, worker);
        let tx = self.begin();
        self.hosts.put(tx, session, Some(HostRow { expires_at }));
        self.end(tx, true);
    }

    pub(crate) fn renew(&mut self, tx: Tx, session: Session, expires_at: u64) -> Flow<bool> {
        if self.hosts.get(tx, &session).is_none() {
            return Flow::Commit(false);
        }
        if let Err(blocker) = self.locks.lock(tx, Place::Host(session), Mode::NoKeyUpdate) {
            return Flow::Wait(blocker);
        }
        Flow::Commit(self.hosts.update(tx, &session, |host| host.expires_at = expires_at))
    }

    /// Deletes the rows of hosts whose expiry has passed, but not the burier's own.
    pub(crate) fn bury(&mut self, tx: Tx, by: Option<Session>, now: u64) -> Flow<Vec<Session>> {
        let expired = self.hosts.rows(tx).filter(|(id, host)| host.expires_at < now && Some(**id) != by);
        let mut buried = Vec::new();
        for id in expired.map(|(id, _)| *id).collect::<Vec<_>>() {
            if self.locks.try_lock(tx, Place::Host(id), Mode::Update) {
                self.hosts.put(tx, id, None);
                self.buried.put(tx, id, Some(()));
                buried.push(id);
            }
        }
        Flow::Commit(buried)
    }

    /// Notes since when lanes of the buried are free, passing by those that are being taken.
    pub(crate) fn note_free_lanes(&mut self, now: u64) {
        let tx = self.begin();
        let orphans = self.lanes.rows(tx).filter(|(_, lane)| {
            lane.free_since.is_none() && lane.owner.is_some_and(|owner| self.hosts.get(tx, &owner).is_none())
        });
        for id in orphans.map(|(id, _)| *id).collect::<Vec<_>>() {
            if self.locks.try_lock(tx, Place::Lane(id), Mode::NoKeyUpdate) {
                self.lanes.update(tx, &id, |lane| lane.free_since = Some(now));
            }
        }
        self.end(tx, true);
    }

    /// Deletes a host's row at its departure, and gives back what it has still: nobody died with these lanes.
    pub(crate) fn depart(&mut self, tx: Tx, now: u64, session: Session) -> Flow<()> {
        if self.hosts.get(tx, &session).is_none() {
            return Flow::Commit(());
        }
        if let Err(blocker) = self.locks.lock(tx, Place::Host(session), Mode::Update) {
            return Flow::Wait(blocker);
        }
        let left = self.lanes.rows(tx).filter(|(_, lane)| lane.owner == Some(session));
        let left: Vec<_> = left.map(|(id, _)| *id).collect();
        for id in &left {
            if let Err(blocker) = self.locks.lock(tx, Place::Lane(*id), Mode::NoKeyUpdate) {
                return Flow::Wait(blocker);
            }
        }
        for id in &left {
            self.lanes.update(tx, id, |lane| (lane.owner, lane.free_since) = (None, Some(now)));
        }
        self.hosts.put(tx, session, None);
        Flow::Commit(())
    }

    /// Takes the offset rows over, or makes them where reading starts; then moves what fell out of the log.
    pub(crate) fn position(
        &mut self,
        tx: Tx,
        partitions: &[(TopicPartition, i64, i64)],
    ) -> Flow<Vec<OffsetRow>> {
        for (partition, _, _) in partitions {
            if let Err(blocker) = self.locks.lock(tx, Place::Offset(partition.clone()), Mode::NoKeyUpdate) {
                return Flow::Wait(blocker);
            }
        }
        let mut found = Vec::new();
        for (partition, low, high) in partitions {
            let row = self.offsets.get(tx, partition).cloned();
            let mut row = row.unwrap_or(OffsetRow { next: *low, epoch: 0, start: *low });
            row.epoch += 1;
            if row.next < *low || row.next > *high {
                (row.next, row.start) = (*low, *low);
            }
            self.offsets.put(tx, partition.clone(), Some(row.clone()));
            found.push(row);
        }
        Flow::Commit(found)
    }

    /// Draws places; they are gone whatever becomes of them.
    pub(crate) fn draw_seqs(&mut self, count: usize) -> Vec<Seq> {
        let count = i64::try_from(self.drawn_max.map_or(count, |max| count.min(max))).unwrap_or(0);
        let from = self.sequence + 1;
        self.sequence += count;
        (from..=self.sequence).map(Seq).collect()
    }

    pub(crate) fn open_breaker(&mut self, tx: Tx, until: u64) -> Flow<()> {
        if let Err(blocker) = self.locks.lock(tx, Place::Breaker, Mode::Update) {
            return Flow::Wait(blocker);
        }
        self.breaker.put(tx, (), Some(until));
        Flow::Commit(())
    }

    pub(crate) fn close_breaker(&mut self, tx: Tx) -> Flow<()> {
        if let Err(blocker) = self.locks.lock(tx, Place::Breaker, Mode::Update) {
            return Flow::Wait(blocker);
        }
        self.breaker.put(tx, (), None);
        Flow::Commit(())
    }

    pub(crate) fn claim_probe(&mut self, tx: Tx, now: u64, until: u64) -> Flow<bool> {
        if self.breaker.get(NOBODY, &()).is_none_or(|paused_until| *paused_until > now) {
            return Flow::Commit(false);
        }
        if let Err(blocker) = self.locks.lock(tx, Place::Breaker, Mode::Update) {
            return Flow::Wait(blocker);
        }
        Flow::Commit(self.breaker.update(tx, &(), |paused_until| *paused_until = until))
    }
}
