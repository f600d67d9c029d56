//! A model of Postgres' outbox: rows, lanes and hosts, transactions with their ids, the sequence, and a standby that
//! may take over with less than all of it.

use std::collections::BTreeMap;

use crate::postgres::locks::{Locks, Mode, Place};
use crate::postgres::table::{Change, NOBODY, Table, Tx};
use crate::postgres::{HostRow, Session};

/// Flaw of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    Nothing,
    /// No broker takes it, and that can be seen.
    Unfit,
    /// No broker takes it, nor anything that is in one request with it.
    Poison,
    /// The client takes it for too large.
    TooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Pending,
    Completed,
    Failed,
}

/// Content of a row, which the relay does not look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) key: Option<u32>,
    pub(crate) flaw: Flaw,
}

/// A row of the outbox; its place is its key in the table.
#[derive(Debug, Clone)]
pub(crate) struct OutboxRow {
    pub(crate) message: Message,
    pub(crate) lane: i32,
    pub(crate) topic: usize,
    pub(crate) bytes: usize,
    pub(crate) status: Status,
    pub(crate) scheduled_at: u64,
    pub(crate) created_at: u64,
    /// An operator had a hand in it.
    pub(crate) touched: bool,
    /// The transaction that wrote it, and when, counted in events.
    pub(crate) tx: Tx,
    pub(crate) drawn_at: u64,
    pub(crate) committed_at: u64,
}

impl OutboxRow {
    pub(crate) fn is_pending(&self) -> bool {
        self.status == Status::Pending
    }

    /// Tells whether it waits, or waited, for its time: such rows are in no order with others.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.scheduled_at > self.created_at
    }
}

/// A lane of the outbox.
#[derive(Debug, Clone)]
pub(crate) struct LaneRow {
    pub(crate) owner: Option<Session>,
    pub(crate) token: i64,
    pub(crate) free_since: Option<u64>,
    pub(crate) rereads: i64,
}

/// Copy of the outbox that a standby has. It knows lanes and hosts as the server does: what is lost is what
/// was written last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standby {
    outbox: BTreeMap<i64, OutboxRow>,
    sequence: i64,
    next_xid: i64,
    last_ended: i64,
}

/// The database.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) outbox: Table<i64, OutboxRow>,
    pub(crate) lanes: Table<i32, LaneRow>,
    pub(crate) hosts: Table<Session, HostRow>,
    /// Times until which relays sleep.
    pub(crate) sleeps: BTreeMap<Session, u64>,
    pub(crate) locks: Locks,
    /// The last place that was drawn.
    pub(crate) sequence: i64,
    last_tx: u64,
    /// Ids of open transactions that have one.
    ids: BTreeMap<Tx, i64>,
    next_id: i64,
    /// The highest id of a transaction that has ended.
    last_ended: i64,
    standby: Standby,
    /// Number of take-overs by the standby.
    pub(crate) failovers: u32,
}

impl Store {
    pub(crate) fn new(lanes: i32) -> Self {
        let mut store = Self {
            outbox: Table::default(),
            lanes: Table::default(),
            hosts: Table::default(),
            sleeps: BTreeMap::new(),
            locks: Locks::default(),
            sequence: 0,
            last_tx: 0,
            ids: BTreeMap::new(),
            next_id: 100,
            last_ended: 99,
            standby: Standby { next_xid: 100, last_ended: 99, ..Standby::default() },
            failovers: 0,
        };
        let tx = store.begin();
        for lane in 0..lanes {
            let row = LaneRow { owner: None, token: 0, free_since: None, rereads: 0 };
            store.lanes.put(tx, lane, Some(row));
        }
        store.end(tx, true);
        store
    }

    pub(crate) fn begin(&mut self) -> Tx {
        self.last_tx += 1;
        Tx(self.last_tx)
    }

    /// Gives a transaction its id, if it has none.
    pub(crate) fn assign_id(&mut self, tx: Tx) -> i64 {
        if let Some(id) = self.ids.get(&tx) {
            return *id;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.ids.insert(tx, id);
        id
    }

    /// Ends a transaction; gives what a commit changed in the outbox.
    pub(crate) fn end(&mut self, tx: Tx, commit: bool) -> Vec<Change<i64, OutboxRow>> {
        let changes = self.outbox.end(tx, commit);
        self.lanes.end(tx, commit);
        self.hosts.end(tx, commit);
        self.locks.release(tx);
        if let Some(id) = self.ids.remove(&tx) {
            self.last_ended = self.last_ended.max(id);
        }
        changes
    }

    /// The next place of the sequence.
    pub(crate) fn draw_seq(&mut self) -> i64 {
        self.sequence += 1;
        self.sequence
    }

    /// One past the last transaction that has ended.
    pub(crate) fn xmax(&self) -> i64 {
        self.last_ended + 1
    }

    /// Tells whether the transaction had ended.
    pub(crate) fn has_ended(&self, id: i64) -> bool {
        id < self.xmax() && !self.ids.values().any(|open| *open == id)
    }

    /// Ids of open transactions below the snapshot's end, lowest first.
    pub(crate) fn open_ids(&self) -> Vec<i64> {
        let mut open: Vec<i64> = self.ids.values().copied().filter(|id| *id < self.xmax()).collect();
        open.sort_unstable();
        open
    }

    pub(crate) fn lock_lane(&mut self, tx: Tx, lane: i32, mode: Mode) -> Result<(), Tx> {
        self.locks.lock(tx, Place::Lane(mailroom_core::ids::LaneId(lane)), mode)
    }

    pub(crate) fn lock_row(&mut self, tx: Tx, seq: i64) -> Result<(), Tx> {
        self.locks.lock(tx, Place::Row(mailroom_core::ids::Seq(seq)), Mode::NoKeyUpdate)
    }

    /// The standby has all that is committed.
    pub(crate) fn replicate(&mut self) {
        let rows = self.outbox.rows(NOBODY).map(|(seq, row)| (*seq, row.clone()));
        self.standby = Standby {
            outbox: rows.collect(),
            sequence: self.sequence,
            next_xid: self.next_id,
            last_ended: self.last_ended,
        };
    }

    /// The standby is the server from here; whoever had a transaction open has ended it before. Its sequence may be
    /// ahead of what was drawn there, for places are noted in advance.
    pub(crate) fn fail_over(&mut self, ahead: i64) {
        let standby = std::mem::take(&mut self.standby);
        self.outbox = Table::default();
        let tx = self.begin();
        for (seq, row) in &standby.outbox {
            self.outbox.put(tx, *seq, Some(row.clone()));
        }
        self.outbox.end(tx, true);
        self.sequence = standby.sequence + ahead;
        self.next_id = standby.next_xid;
        self.last_ended = standby.last_ended;
        self.failovers += 1;
        self.replicate();
    }
}
