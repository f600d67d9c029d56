//! View of the host's sweep that its handlers have, and what it has to know of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mailroom_core::handler_machine::event::{Look, OwnedLane};
use mailroom_core::ids::LaneId;
use mailroom_core::time::Moment;

/// A look at the tables: the lanes of this session, the breakers that are open and the handlers that are paused.
#[derive(Debug, Default)]
pub(crate) struct HostLook {
    /// Moment at which the look began.
    pub(crate) began_at: Moment,
    pub(crate) lanes: BTreeMap<LaneId, OwnedLane>,
    /// Moments from which a probe may be claimed, by consumer group.
    pub(crate) open: HashMap<String, Moment>,
    /// Consumer groups.
    pub(crate) paused: HashSet<String>,
}

impl HostLook {
    /// Gives what concerns one handler and these lanes.
    pub(super) fn of(&self, group: &str, lanes: impl Iterator<Item = LaneId>) -> Look {
        let lanes = lanes.filter_map(|lane| Some((lane, *self.lanes.get(&lane)?)));
        Look {
            began_at: self.began_at,
            lanes: lanes.collect(),
            paused: self.paused.contains(group),
            open_until: self.open.get(group).copied(),
        }
    }
}

/// Book of the inbox lanes that the handlers of this host have. What is ours by the table and in nobody's page is
/// given back.
#[derive(Debug, Clone, Default)]
pub(crate) struct LaneBook(Arc<Mutex<HashMap<Arc<str>, BTreeSet<LaneId>>>>);

impl LaneBook {
    /// No code that can panic runs under it.
    fn pages(&self) -> MutexGuard<'_, HashMap<Arc<str>, BTreeSet<LaneId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the lanes of a consumer group's handler.
    pub(super) fn write(&self, group: &Arc<str>, lanes: BTreeSet<LaneId>) {
        self.pages().insert(Arc::clone(group), lanes);
    }

    /// Forgets a consumer group's handler, which has ended.
    pub(super) fn tear_out(&self, group: &str) {
        self.pages().remove(group);
    }

    /// Tells whether a handler here has the lane.
    pub(crate) fn has(&self, lane: LaneId) -> bool {
        self.pages().values().any(|lanes| lanes.contains(&lane))
    }
}
