//! A host: a process with a relay's machine, its producers, and what its sweep knows of lanes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mailroom_core::relay::{Event, RelayMachine};

use super::client::Clients;
use super::store::Message;
use crate::postgres::Session;

pub(crate) type Machine = RelayMachine<Message>;

/// State of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Up,
    /// The process awaits what is in flight, until then.
    Stopping(u64),
    /// The process gives its lanes back.
    Leaving,
    Down,
}

/// A lease as sweep and relay share it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lease {
    pub(crate) lost: bool,
    pub(crate) rereads: i64,
    /// Rows were touched that the relay has not been told of.
    pub(crate) touched: bool,
}

/// News of the sweep for the relay.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LaneChange {
    Taken(i32, i64),
    Surplus(i32),
}

/// A process and what it holds.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) life: Life,
    /// Rises with every session; what was asked in another is for nobody.
    pub(crate) lives: u32,
    pub(crate) session: Session,
    pub(crate) machine: Option<Machine>,
    pub(crate) clients: Clients,
    /// All leases that were had in this session, by lane and token.
    pub(crate) shared: BTreeMap<(i32, i64), Lease>,
    /// The tokens of lanes that the relay has.
    pub(crate) leases: BTreeMap<i32, i64>,
    /// Lanes that the sweep has.
    pub(crate) held: BTreeMap<i32, i64>,
    /// Lanes that the table says are this session's and that nobody here has, since when.
    pub(crate) strays: BTreeMap<(i32, i64), u64>,
    pub(crate) changes: VecDeque<LaneChange>,
    pub(crate) events: VecDeque<Event<Message>>,
    pub(crate) woken: bool,
    /// Time at which the machine's timer is due.
    pub(crate) timer: u64,
    pub(crate) session_outlasts: bool,
    pub(crate) valid_until: u64,
    /// Time that the loop waits after a failure.
    pub(crate) outage: Option<u64>,
    /// Time since when its renewals committed without a gap.
    pub(crate) gapless_since: Option<u64>,
    pub(crate) next_beat: u64,
    pub(crate) next_sweep: u64,
    pub(crate) beats: bool,
    pub(crate) sweeps: bool,
    pub(crate) frozen: bool,
    /// Time until which it does not reach Postgres, or Kafka.
    pub(crate) cut_until: u64,
    pub(crate) kafka_cut_until: u64,
    /// Messages whose end was heard of in this session, with the server of then.
    pub(crate) marked: BTreeSet<u64>,
    /// Events since time passed, and timers since the last look at them.
    pub(crate) turns: u32,
    pub(crate) timers: u32,
}

impl Host {
    pub(crate) fn down() -> Self {
        Self {
            life: Life::Down,
            lives: 0,
            session: Session(0),
            machine: None,
            clients: Clients::default(),
            shared: BTreeMap::new(),
            leases: BTreeMap::new(),
            held: BTreeMap::new(),
            strays: BTreeMap::new(),
            changes: VecDeque::new(),
            events: VecDeque::new(),
            woken: false,
            timer: 0,
            session_outlasts: false,
            valid_until: 0,
            outage: None,
            gapless_since: None,
            next_beat: 0,
            next_sweep: 0,
            beats: false,
            sweeps: false,
            frozen: false,
            cut_until: 0,
            kafka_cut_until: 0,
            marked: BTreeSet::new(),
            turns: 0,
            timers: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.life != Life::Down
    }

    /// Tells whether the relay's loop runs.
    pub(crate) fn relays(&self) -> bool {
        matches!(self.life, Life::Up | Life::Stopping(_)) && self.machine.is_some()
    }

    pub(crate) fn is_lost(&self, lane: i32, token: i64) -> bool {
        self.shared.get(&(lane, token)).is_none_or(|lease| lease.lost)
    }

    pub(crate) fn lose(&mut self, lane: i32, token: i64) {
        if let Some(lease) = self.shared.get_mut(&(lane, token)) {
            lease.lost = true;
        }
    }

    /// The next wait after a failure: it doubles.
    pub(crate) fn failed(&mut self) -> u64 {
        let wait = self.outage.map_or(50, |wait| (wait * 2).min(1000));
        self.outage = Some(wait);
        wait
    }
}
