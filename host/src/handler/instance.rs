//! Instance of a component with its store, from its first call to its last, and the instances that wait for another
//! call of their version, where its manifest says `instances = "reuse"`. The pool has room for them beside the calls, so
//! that a kept one holds up nobody; how many they are together is bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use wasmtime::Store;

use super::effects::Effects;
use super::guest::{self, Guest, RESOURCES_LEFT_MAX};
use super::linked::{Exports, Linked};
use super::reply::Failure;
use crate::config::{CallLimits, Form, Instances, Manifest};
use crate::message::Message;
use crate::pipeline::outcome::{End, Outcome};

/// Instance of a component, which has one call at a time.
pub(super) struct Instance {
    pub(super) store: Store<Guest>,
    /// The first call makes it: its start runs under the call's limits.
    exports: Option<Exports>,
    /// Calls that it was given.
    pub(super) calls: u32,
}

impl Instance {
    /// Makes an instance that does not exist yet: the first call makes it.
    pub(super) fn new(store: Store<Guest>) -> Self {
        Self { store, exports: None, calls: 0 }
    }

    /// The same for another call.
    pub(super) fn again(mut self, effects: Effects) -> Self {
        self.store.data_mut().begin(effects);
        self
    }

    /// Handles one message, with fuel and time of its own.
    pub(super) async fn handle(
        &mut self,
        linked: &Linked,
        limits: &CallLimits,
        deadline: Instant,
        message: &Message,
        form: Form,
    ) -> Result<wasmtime::Result<Result<Outcome, Failure>>, Elapsed> {
        self.calls = self.calls.saturating_add(1);
        let Self { store, exports, .. } = self;
        let reply = async {
            guest::wind_up(store, limits, deadline)?;
            let exports = match exports {
                Some(exports) => exports,
                none @ None => none.insert(linked.instantiate(store).await?),
            };
            exports.handle(store, message, form).await
        };
        timeout_at(guest::timeout_at(deadline), reply).await
    }

    /// Tells whether it may have another call after one that ended so.
    ///
    /// After a trap or a deadline it cannot be entered again. A failure of the handler's own unwinds through its code
    /// and may leave its memory half written, and the message's next attempt must not fail of that; what only was
    /// decided does not. One that was refused something would be refused it again: its memory is full, or it is lost.
    /// What a call leaves under way ends with it, and so does what it leaves in the host.
    pub(super) fn is_sound_after(&self, end: &End) -> bool {
        let guest = self.store.data();
        let effects = &guest.effects;
        let lost = effects.lost_sql().is_some() || effects.awaited().is_some();
        let refused = guest.meter.has_refused() || effects.refused().is_some();
        let leaks = guest.in_hand.messages > 0;
        matches!(end, End::Decided(_)) && !refused && !lost && !leaks
    }

    /// Ends its last call, and it.
    pub(super) fn into_effects(self) -> Effects {
        self.store.into_data().effects
    }
}

/// Bound of the instances that all versions of a process keep together.
pub(super) struct Keeping {
    places: Arc<Semaphore>,
    versions: Mutex<Vec<Weak<Kept>>>,
}

/// Instances that one version keeps; they go with the version. Under another manifest it is another version:
/// instances carry the limits that they began with.
pub(super) struct Kept {
    calls_max: u32,
    instances_max: usize,
    /// The longest idle first.
    idle: Mutex<VecDeque<Idle>>,
    keeping: Arc<Keeping>,
}

struct Idle {
    instance: Instance,
    since: Instant,
    /// Given back when it is called.
    _place: OwnedSemaphorePermit,
}

impl Keeping {
    /// No more than `instances_max` at once.
    pub(super) fn new(instances_max: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Semaphore::new(instances_max)), versions: Mutex::default() })
    }

    /// Registers a version under this manifest: it keeps nothing yet.
    pub(super) fn version(self: &Arc<Self>, manifest: &Manifest) -> Arc<Kept> {
        let (calls_max, instances_max) = match manifest.instances() {
            Instances::New => (1, 0),
            Instances::Reuse { calls_max } => (calls_max, manifest.concurrency),
        };
        let kept = Kept { calls_max, instances_max, idle: Mutex::default(), keeping: Arc::clone(self) };
        let kept = Arc::new(kept);
        if instances_max > 0 {
            lock(&self.versions).push(Arc::downgrade(&kept));
        }
        kept
    }

    /// Throws away what nobody has called for so long.
    pub(super) fn let_go(&self, idle_for: Duration) {
        for version in self.versions() {
            let gone: Vec<Idle> = {
                let mut idle = lock(&version.idle);
                let long = idle.partition_point(|idle| idle.since.elapsed() >= idle_for);
                idle.drain(..long).collect()
            };
            drop(gone);
        }
    }

    /// Takes a place for one more; where there is none, that of the instance which is idle the longest.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let free = || Arc::clone(&self.places).try_acquire_owned().ok();
        free().or_else(|| {
            drop(self.longest_idle());
            free()
        })
    }

    fn longest_idle(&self) -> Option<Idle> {
        let versions = self.versions();
        let idle = versions.iter().filter_map(|version| Some((lock(&version.idle).front()?.since, version)));
        let (_, version) = idle.min_by_key(|(since, _)| *since)?;
        lock(&version.idle).pop_front()
    }

    fn versions(&self) -> Vec<Arc<Kept>> {
        let mut versions = lock(&self.versions);
        versions.retain(|version| version.strong_count() > 0);
        versions.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Kept {
    /// Takes one that may have another call: the last one that had, since its memory is the likeliest to be in a cache.
    pub(super) fn take(&self) -> Option<Instance> {
        if self.instances_max == 0 {
            return None;
        }
        lock(&self.idle).pop_back().map(|idle| idle.instance)
    }

    /// Counts those that wait for a call.
    pub(super) fn idle(&self) -> usize {
        lock(&self.idle).len()
    }

    /// Ends a call: gives what it asked for, and keeps the instance where it may have another.
    pub(super) fn end(&self, mut instance: Instance, end: &End) -> Effects {
        if instance.calls >= self.calls_max || !instance.is_sound_after(end) {
            return instance.into_effects();
        }
        let left_open = instance.store.data_mut().left_open();
        if left_open > RESOURCES_LEFT_MAX {
            return instance.into_effects();
        }
        let effects = instance.store.data_mut().renew(left_open);
        if let Some(place) = self.keeping.place() {
            let mut idle = lock(&self.idle);
            idle.push_back(Idle { instance, since: Instant::now(), _place: place });
            let over = (idle.len() > self.instances_max).then(|| idle.pop_front());
            drop(idle);
            drop(over);
        }
        effects
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
