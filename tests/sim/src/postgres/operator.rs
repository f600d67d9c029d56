//! Acts of operators: each act of the command line is a transaction.

use mailroom_core::ids::{LaneId, OrderKey, RereadCount, Seq};

use super::locks::{Mode, Place};
use super::table::Tx;
use super::{Flow, Postgres, Row, StateId, StateRow, Status};

/// Reason that is given for a message whose content the database refused.
const REFUSED: &str = "the database refuses its content";

/// An act of a person.
#[derive(Debug, Clone, Hash)]
pub enum Act {
    /// A dead letter is replayed.
    Replay(Seq),
    /// A dead letter is closed.
    Discard(Seq),
    /// A key goes on in front of its dead letter.
    Unlock(LaneId, OrderKey),
    /// The handler is paused.
    Pause,
    /// The handler goes on.
    Resume,
    /// A pending message is said to be done, by hand.
    Complete(Seq),
    /// A message that waits is due, by hand.
    Hasten(Seq),
    /// Somebody else writes a value of the handler's state.
    Write(StateId),
}

impl Postgres {
    /// One statement of an act.
    pub(crate) fn act(&mut self, tx: Tx, now: u64, act: &Act, step: usize) -> Flow<()> {
        match act {
            Act::Replay(seq) | Act::Discard(seq) => {
                let Some(lane) = self.inbox.get(tx, seq).map(|row| row.lane) else {
                    return Flow::Rollback(());
                };
                match step {
                    0 => self.lock_lane(tx, lane),
                    1 => self.close_letter(tx, *seq),
                    2 if matches!(act, Act::Replay(_)) => self.replay_row(tx, now, *seq),
                    2 => Flow::Next,
                    3 => self.unblock(tx, lane, |_, by| by == *seq),
                    _ => self.raise_rereads(tx, lane),
                }
            }
            Act::Unlock(lane, key) => match step {
                0 => self.lock_lane(tx, *lane),
                1 => self.unblock(tx, *lane, |of, _| of == *key),
                _ => self.raise_rereads(tx, *lane),
            },
            Act::Pause | Act::Resume => {
                if let Err(blocker) = self.locks.lock(tx, Place::Breaker, Mode::Update) {
                    return Flow::Wait(blocker);
                }
                self.paused.put(tx, (), matches!(act, Act::Pause).then_some(()));
                Flow::Commit(())
            }
            // Others may wait behind a row that wakes: such a one is not edited away.
            Act::Complete(seq) if self.inbox.get(tx, seq).is_some_and(|row| row.wakes) => Flow::Rollback(()),
            Act::Complete(seq) => self.edit(tx, *seq, |row| {
                (row.status, row.held, row.lone, row.touched) = (Status::Completed, false, false, true);
            }),
            Act::Hasten(seq) => self.edit(tx, *seq, |row| (row.scheduled_at, row.touched) = (now, true)),
            Act::Write(id) => {
                if let Err(blocker) = self.locks.lock(tx, Place::State(*id), Mode::NoKeyUpdate) {
                    return Flow::Wait(blocker);
                }
                let value = self.state.get(tx, id).map_or(0, |row| row.value);
                let row = StateRow { version: self.draw_version(), value: value + 1000 };
                self.state.put(tx, *id, Some(row));
                Flow::Commit(())
            }
        }
    }

    fn lock_lane(&mut self, tx: Tx, lane: LaneId) -> Flow<()> {
        self.locks.lock(tx, Place::Lane(lane), Mode::Update).map_or_else(Flow::Wait, |()| Flow::Next)
    }

    fn close_letter(&mut self, tx: Tx, seq: Seq) -> Flow<()> {
        if !self.letters.get(tx, &seq).is_some_and(|letter| letter.open) {
            return Flow::Rollback(());
        }
        if let Err(blocker) = self.lock_row(tx, seq) {
            return Flow::Wait(blocker);
        }
        self.letters.update(tx, &seq, |letter| letter.open = false);
        self.inbox.update(tx, &seq, |row| row.touched = true);
        Flow::Next
    }

    fn replay_row(&mut self, tx: Tx, now: u64, seq: Seq) -> Flow<()> {
        self.inbox.update(tx, &seq, |row| {
            (row.status, row.held, row.wakes) = (Status::Pending, true, true);
            (row.attempts, row.crashes, row.begun) = (0, 0, false);
            (row.scheduled_at, row.touched) = (now, true);
            // What was refused has no content to call a handler with.
            row.unfit = row.unfit.take().filter(|unfit| **unfit == *REFUSED);
        });
        Flow::Next
    }

    fn unblock(&mut self, tx: Tx, lane: LaneId, which: impl Fn(OrderKey, Seq) -> bool) -> Flow<()> {
        let blocks = self.blocked.rows(tx).filter(|((of, _), _)| *of == lane);
        let chosen = blocks.filter(|((_, key), (by, _))| which(*key, *by));
        let chosen: Vec<_> = chosen.map(|(block, _)| *block).collect();
        for block in &chosen {
            if let Err(blocker) = self.locks.lock(tx, Place::Block(block.0, block.1), Mode::Update) {
                return Flow::Wait(blocker);
            }
        }
        for block in chosen {
            self.blocked.put(tx, block, None);
        }
        Flow::Next
    }

    fn raise_rereads(&mut self, tx: Tx, lane: LaneId) -> Flow<()> {
        self.lanes.update(tx, &lane, |lane| lane.rereads = RereadCount(lane.rereads.0 + 1));
        Flow::Commit(())
    }

    fn edit(&mut self, tx: Tx, seq: Seq, change: impl FnOnce(&mut Row)) -> Flow<()> {
        if !self.inbox.get(tx, &seq).is_some_and(Row::is_pending) {
            return Flow::Rollback(());
        }
        if let Err(blocker) = self.lock_row(tx, seq) {
            return Flow::Wait(blocker);
        }
        self.inbox.update(tx, &seq, change);
        Flow::Commit(())
    }
}
