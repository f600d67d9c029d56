//! A partition that is assigned to this host.

use uuid::Uuid;

use crate::lane::Lease;

/// What can be done with it.
#[derive(Debug)]
pub(super) enum Partition {
    /// Its lane is not ours yet, or its position has to be found again; with what was known of it.
    Waiting(Option<Live>),
    /// Its lane is ours and its position is known.
    Live(Live),
}

/// A partition whose lane is ours.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) lease: Lease,
    pub(super) epoch: i64,
    pub(super) topic_id: Option<Uuid>,
    /// The offset that comes next.
    pub(super) next: i64,
    /// The highest `seq` that was handed to the worker.
    pub(super) mark: i64,
    /// Whether rows above the mark may lie in Postgres.
    pub(super) backlog: bool,
    /// The offset that Kafka was told last.
    pub(super) reported: i64,
    /// The gap policy says stop: nothing is fetched until an operator acts; what is stored goes on.
    pub(super) stopped: bool,
}

impl Partition {
    pub(super) fn live(&mut self) -> Option<&mut Live> {
        match self {
            Self::Live(live) => Some(live),
            Self::Waiting(_) => None,
        }
    }

    /// Whether the consumer fetches it.
    pub(super) fn is_fetched(&self) -> bool {
        matches!(self, Self::Live(live) if !live.stopped)
    }

    /// The lease, also of one whose position has to be found again.
    pub(super) fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Live(live) | Self::Waiting(Some(live)) => Some(&live.lease),
            Self::Waiting(None) => None,
        }
    }

    /// Its position has to be found again.
    pub(super) fn wait(self) -> Self {
        match self {
            Self::Live(live) => Self::Waiting(Some(live)),
            waiting @ Self::Waiting(_) => waiting,
        }
    }
}
