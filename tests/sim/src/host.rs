//! A host: a process with a machine, a consumer, calls under way and a session.

use std::collections::BTreeMap;
use std::sync::Arc;

use mailroom_core::handler_machine::HandlerMachine;
use mailroom_core::handler_machine::command::Call;
use mailroom_core::handler_machine::event::CallEnd;
use mailroom_core::handler_machine::version::Version;
use mailroom_core::ids::{CallId, Lease};

use crate::guest::{Act, Effects, KeyState};
use crate::kafka::Consumer;
use crate::postgres::Session;
use crate::postgres::table::Tx;

pub(crate) type Machine = HandlerMachine<KeyState, Effects>;

/// State of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    Up,
    /// The process gives everything back, until then.
    Stopping(u64),
    Down,
}

/// A call under way.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) call: Box<Call<KeyState>>,
    pub(crate) act: Act,
    pub(crate) stage: CallStage,
    /// Time before which it is not over.
    pub(crate) until: u64,
    pub(crate) tx: Option<Tx>,
}

/// Progress of a call.
#[derive(Debug, Clone)]
pub(crate) enum CallStage {
    /// The note that the call needs is being written.
    Begin,
    /// The key's state is read.
    Load,
    /// The guest runs.
    Body(KeyState),
    /// The call has ended, and its host does not know yet.
    Ended(Box<CallEnd<KeyState, Effects>>),
}

/// A transaction that a call opened.
#[derive(Debug, Clone)]
pub(crate) struct OpenTransaction {
    pub(crate) tx: Tx,
    pub(crate) message: String,
    pub(crate) since: u64,
}

/// A process and what it holds.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) life: Life,
    /// Rises with every machine; what was asked by another is for nobody.
    pub(crate) lives: u32,
    pub(crate) session: Session,
    pub(crate) machine: Option<Machine>,
    pub(crate) version: Arc<Version>,
    pub(crate) consumer: Consumer,
    pub(crate) calls: BTreeMap<CallId, Running>,
    /// Transactions of calls that ended and are not settled yet.
    pub(crate) open: BTreeMap<CallId, OpenTransaction>,
    /// Lanes that the table says are this session's and that its machine does not have, since when.
    pub(crate) strays: BTreeMap<Lease, u64>,
    /// Shared values with version, value and when they were read.
    pub(crate) shared: BTreeMap<u32, (i64, i64, u64)>,
    /// Time since when its renewals committed without a gap.
    pub(crate) gapless_since: Option<u64>,
    pub(crate) next_beat: u64,
    pub(crate) next_look: u64,
    pub(crate) beats: bool,
    pub(crate) looks: bool,
    pub(crate) frozen: bool,
    /// Time until which it does not reach Postgres.
    pub(crate) cut_until: u64,
    pub(crate) ticks: u32,
}

impl Host {
    pub(crate) fn down(version: Arc<Version>) -> Self {
        Self {
            life: Life::Down,
            lives: 0,
            session: Session(0),
            machine: None,
            version,
            consumer: Consumer::default(),
            calls: BTreeMap::new(),
            open: BTreeMap::new(),
            strays: BTreeMap::new(),
            shared: BTreeMap::new(),
            gapless_since: None,
            next_beat: 0,
            next_look: 0,
            beats: false,
            looks: false,
            frozen: false,
            cut_until: 0,
            ticks: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.life != Life::Down
    }

    /// Tells whether a call of it runs in an open transaction of its own.
    pub(crate) fn has_open(&self) -> bool {
        self.calls.values().any(|running| running.tx.is_some())
    }
}
