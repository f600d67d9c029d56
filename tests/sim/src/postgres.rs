//! A model of the tables of mailroom and of the transactions on them.
//!
//! Each statement is one step with a snapshot of its own, under read committed. It locks rows as the real one does,
//! and waits where it has to. A commit is a step of its own.

pub(crate) mod begin;
pub(crate) mod lanes;
pub(crate) mod locks;
pub(crate) mod operator;
pub(crate) mod reads;
pub(crate) mod sessions;
pub(crate) mod settle;
pub(crate) mod state;
mod suspect;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mailroom_core::ids::{LaneId, LaneToken, OrderKey, RereadCount, Seq, TopicPartition};
use mailroom_core::message::Message;
use mailroom_core::verdict::Blocking;
use mailroom_core::verdict::decide::DeadReason;

use locks::{Locks, Mode, Place};
use table::{Change, NOBODY, Table, Tx};

/// One life of a host in the eyes of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(
    /// Number of the session.
    pub u32,
);

/// A value of a handler's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateId {
    /// A key's own.
    Keyed(OrderKey),
    /// One that all keys share.
    Shared(u32),
}

#[derive(Debug, Clone, Hash)]
pub(crate) struct HostRow {
    pub(crate) expires_at: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LaneRow {
    pub(crate) partition: TopicPartition,
    pub(crate) owner: Option<Session>,
    pub(crate) token: LaneToken,
    pub(crate) wanted_by: Option<Session>,
    pub(crate) free_since: Option<u64>,
    pub(crate) started_to: Seq,
    pub(crate) rereads: RereadCount,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OffsetRow {
    pub(crate) next: i64,
    pub(crate) epoch: i64,
    /// Offset at which the group began, or went on after a gap.
    pub(crate) start: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    Pending,
    Completed,
    Failed(DeadReason),
}

/// A row of the inbox.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Row {
    pub(crate) lane: LaneId,
    pub(crate) okey: Option<OrderKey>,
    pub(crate) message: Arc<Message>,
    pub(crate) status: Status,
    pub(crate) held: bool,
    pub(crate) wakes: bool,
    pub(crate) deliveries: u32,
    pub(crate) attempts: u32,
    pub(crate) attempts_max: u32,
    pub(crate) crashes: u32,
    pub(crate) begun: bool,
    /// True if it runs alone in its process.
    pub(crate) lone: bool,
    pub(crate) scheduled_at: u64,
    pub(crate) unfit: Option<Arc<str>>,
    /// An operator had a hand in it.
    pub(crate) touched: bool,
}

impl Row {
    pub(crate) fn is_pending(&self) -> bool {
        self.status == Status::Pending
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Letter {
    pub(crate) open: bool,
    pub(crate) reason: DeadReason,
}

/// A value with its version and the message that wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StateRow {
    pub(crate) version: i64,
    pub(crate) value: i64,
}

/// The database.
#[derive(Debug, Clone, Default)]
pub(crate) struct Postgres {
    pub(crate) locks: Locks,
    last_tx: u64,
    /// Counts commits: the order of all that happened.
    pub(crate) commits: u64,
    /// Number of commits at the time when a settlement had its fence.
    pub(crate) fenced_at: BTreeMap<Tx, u64>,
    pub(crate) last_version: i64,
    pub(crate) sequence: i64,
    /// The most places that are drawn at once, where there is such a bound.
    pub(crate) drawn_max: Option<usize>,
    pub(crate) hosts: Table<Session, HostRow>,
    /// The names of the sessions' processes, the same after a restart.
    pub(crate) workers: BTreeMap<Session, usize>,
    /// Sessions that others ended.
    pub(crate) buried: Table<Session, ()>,
    /// Messages that a buried session may have had running.
    pub(crate) suspicions: Table<(Session, LaneId, Seq), ()>,
    pub(crate) lanes: Table<LaneId, LaneRow>,
    pub(crate) offsets: Table<TopicPartition, OffsetRow>,
    pub(crate) inbox: Table<Seq, Row>,
    /// The unique index over messages' ids.
    pub(crate) ids: Table<String, Seq>,
    pub(crate) letters: Table<Seq, Letter>,
    /// Blocked keys, with the dead message behind which each waits.
    pub(crate) blocked: Table<(LaneId, OrderKey), (Seq, Blocking)>,
    pub(crate) state: Table<StateId, StateRow>,
    /// Numbers that were published, by message and place within its call.
    pub(crate) outbox: Table<(Seq, u32), i64>,
    /// Writes of handlers' own statements, by message.
    pub(crate) guest: Table<String, u64>,
    pub(crate) breaker: Table<(), u64>,
    pub(crate) paused: Table<(), ()>,
}

/// Changes of a commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Committed {
    pub(crate) inbox: Vec<Change<Seq, Row>>,
    pub(crate) offsets: Vec<Change<TopicPartition, OffsetRow>>,
    pub(crate) state: Vec<Change<StateId, StateRow>>,
    pub(crate) outbox: Vec<Change<(Seq, u32), i64>>,
    pub(crate) guest: Vec<Change<String, u64>>,
}

/// Continuation after a statement.
#[derive(Debug, Clone)]
pub(crate) enum Flow<R> {
    /// The statement waits for a transaction.
    Wait(Tx),
    /// The next statement follows.
    Next,
    /// All is done, and to be committed.
    Commit(R),
    /// The transaction is rolled back.
    Rollback(R),
}

impl Postgres {
    pub(crate) fn begin(&mut self) -> Tx {
        self.last_tx += 1;
        Tx(self.last_tx)
    }

    /// Draws a version that no value ever had.
    pub(crate) fn draw_version(&mut self) -> i64 {
        self.last_version += 1;
        self.last_version
    }

    pub(crate) fn end(&mut self, tx: Tx, commit: bool) -> Committed {
        self.hosts.end(tx, commit);
        self.buried.end(tx, commit);
        self.suspicions.end(tx, commit);
        self.lanes.end(tx, commit);
        self.ids.end(tx, commit);
        self.letters.end(tx, commit);
        self.blocked.end(tx, commit);
        self.breaker.end(tx, commit);
        self.paused.end(tx, commit);
        let committed = Committed {
            inbox: self.inbox.end(tx, commit),
            offsets: self.offsets.end(tx, commit),
            state: self.state.end(tx, commit),
            outbox: self.outbox.end(tx, commit),
            guest: self.guest.end(tx, commit),
        };
        self.locks.release(tx);
        self.fenced_at.remove(&tx);
        self.commits += u64::from(commit);
        committed
    }

    /// The lane of a partition, as committed.
    pub(crate) fn lane_of(&self, partition: &TopicPartition) -> Option<(LaneId, &LaneRow)> {
        let mut lanes = self.lanes.rows(NOBODY);
        lanes.find(|(_, lane)| lane.partition == *partition).map(|(id, lane)| (*id, lane))
    }

    /// Locks a row of the inbox.
    pub(crate) fn lock_row(&mut self, tx: Tx, seq: Seq) -> Result<(), Tx> {
        self.locks.lock(tx, Place::Row(seq), Mode::NoKeyUpdate)
    }

    /// Keys behind a dead letter.
    pub(crate) fn blocked_keys(&self, tx: Tx, lane: LaneId) -> Vec<(OrderKey, Blocking)> {
        let of_lane = self.blocked.rows(tx).filter(|((of, _), _)| *of == lane);
        of_lane.map(|((_, key), (_, blocking))| (*key, *blocking)).collect()
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}
