//! Counts what a dead owner may have had running as delivered and lost.

use mailroom_core::handler_machine::event::TakenLane;
use mailroom_core::ids::{LaneId, Seq};
use mailroom_core::verdict::LOST_MAX;

use super::lanes::TakingNotes;
use super::table::Tx;
use super::{Flow, Postgres, Row, Session};
use crate::setup::EXPIRY;

/// Time after a burial in which a host can prove that it lives.
const BLAMED_AFTER: u64 = 2 * EXPIRY;

impl Postgres {
    /// Counts what a dead owner may have begun as delivered and lost.
    pub(super) fn count_crashes(&mut self, tx: Tx, now: u64, notes: &TakingNotes) -> Flow<Vec<TakenLane>> {
        let abandoned = notes.locked.iter().filter_map(|(id, dead)| Some((*id, (*dead)?)));
        let abandoned: Vec<(LaneId, Session)> = abandoned.collect();
        let mut lost = Vec::new();
        for (lane, dead) in abandoned {
            lost.extend(self.begun_rows(tx, now, lane).into_iter().map(|seq| (lane, dead, seq)));
        }
        for (_, _, seq) in &lost {
            if let Err(blocker) = self.lock_row(tx, *seq) {
                return Flow::Wait(blocker);
            }
        }
        for (lane, dead, seq) in lost {
            let is_proven = self.is_proven_dead(tx, dead);
            self.inbox.update(tx, &seq, |row| lose_delivery(row, is_proven, now));
            if self.buried.get(tx, &dead).is_some() {
                self.suspicions.put(tx, (dead, lane, seq), Some(()));
            }
        }
        Flow::Next
    }

    /// Tells whether its process was started anew.
    fn is_proven_dead(&self, tx: Tx, dead: Session) -> bool {
        let worker = self.workers.get(&dead);
        self.buried.get(tx, &dead).is_some()
            && self.hosts.rows(tx).any(|(session, _)| self.workers.get(session) == worker)
    }

    /// Gives the ready rows, the first held one of each key that is not blocked and has no ready one, and held ones
    /// without a key.
    fn begun_rows(&self, tx: Tx, now: u64, lane: LaneId) -> Vec<Seq> {
        let started_to = self.lanes.get(tx, &lane).map_or(Seq(0), |row| row.started_to);
        let can_run = |seq: &Seq, row: &Row| *seq <= started_to && row.scheduled_at <= now;
        let pending = || self.inbox.rows(tx).filter(|(_, row)| row.lane == lane && row.is_pending());
        let ready: Vec<(Seq, &Row)> = pending()
            .filter(|(seq, row)| !row.held && can_run(seq, row))
            .map(|(seq, row)| (*seq, row))
            .collect();
        let mut seen = Vec::new();
        let held = pending().filter(|(seq, row)| match row.okey {
            _ if !row.held => false,
            None => row.wakes && can_run(seq, row),
            Some(key) => {
                let is_first = !seen.contains(&key);
                seen.push(key);
                is_first
                    && can_run(seq, row)
                    && self.blocked.get(tx, &(lane, key)).is_none()
                    && ready.iter().all(|(_, ready)| ready.okey != Some(key))
            }
        });
        let held: Vec<Seq> = held.map(|(seq, _)| *seq).collect();
        ready.iter().map(|(seq, _)| *seq).chain(held).collect()
    }
}

/// Two make it run alone, and only one that did goes beyond these. Unless its process was started anew it waits then,
/// so that a host that was cut off can come again.
fn lose_delivery(row: &mut Row, is_proven: bool, now: u64) {
    row.deliveries += 1;
    if row.lone {
        row.crashes = row.crashes.max(LOST_MAX) + 1;
        if !is_proven {
            (row.held, row.wakes, row.scheduled_at) = (true, true, now + BLAMED_AFTER);
        }
    } else if row.crashes < LOST_MAX {
        row.crashes += 1;
    }
    row.lone = false;
}
