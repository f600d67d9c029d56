//! Reconciliation of the folder with what runs, and of what became of the files as they were last seen.
//!
//! A component or manifest with the same group, the same subscriptions and the same `ack` is swapped under the calls: a
//! call ends on the version with which it began. Another group, other subscriptions or another `ack` restart the
//! handler's ingest and worker. A removed file stops both, and its rows wait.
//!
//! What came of files that are no more is dropped where it is a refusal, or where the manifest is another now: new code
//! never runs under the grants of the old (`load`).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::Change;
use super::departed::Departed;
use super::load::{Attempt, Contents, Loaded};
use super::scan::Files;
use crate::config::{Config, HandlerName};
use crate::handler::refused::Refused;
use crate::handler::{Component, Engine, Handler};

type Loading = Pin<Box<dyn Future<Output = Load> + Send>>;

/// All handlers of the folder.
pub(super) struct Shelf {
    /// Handlers that no file is taken for, by name.
    natives: BTreeMap<String, Arc<Handler>>,
    engine: Arc<Engine>,
    config: Arc<Config>,
    changes: mpsc::Sender<Change>,
    places: BTreeMap<String, Place>,
    /// Loads under way, at most one a place. The result of one whose place is gone is dropped.
    loads: FuturesUnordered<Loading>,
    /// The number of the last load.
    last: u64,
    departed: Departed,
    /// The last complaint about the folder itself.
    complaint: Option<String>,
}

/// A load that has ended.
pub(super) struct Load {
    number: u64,
    name: HandlerName,
    loaded: Loaded,
}

/// One handler's place.
#[derive(Default)]
struct Place {
    /// The files as they were last taken up; `None` where they are to be tried again.
    seen: Option<Files>,
    /// The number of the load under way.
    loading: Option<u64>,
    /// True if the files changed since it began.
    changed_since: bool,
    /// Contents that were last tried.
    tried: Option<Contents>,
    /// Reason why they were refused, if they were.
    refused: Option<String>,
    running: Option<Arc<Handler>>,
}

/// Nobody listens to changes any more.
pub(super) struct Unheard;

impl Shelf {
    /// Empty but for the native handlers.
    pub(super) fn new(
        engine: Arc<Engine>,
        config: Arc<Config>,
        natives: &[Arc<Handler>],
        changes: mpsc::Sender<Change>,
    ) -> Self {
        let natives = natives.iter().map(|native| (native.name.to_string(), Arc::clone(native))).collect();
        Self {
            natives,
            engine,
            config,
            changes,
            places: BTreeMap::new(),
            loads: FuturesUnordered::new(),
            last: 0,
            departed: Departed::default(),
            complaint: None,
        }
    }

    /// Tells of the native handlers.
    pub(super) async fn begin(&mut self) -> Result<(), Unheard> {
        for native in self.natives.values().cloned().collect::<Vec<_>>() {
            let (name, digest, group) = (&native.name, Arc::clone(native.current().digest()), &native.group);
            tracing::info!(handler.name = %name, handler.digest = %digest, "Native handler {name} runs in group {group}");
            self.tell(Change::Running(native)).await?;
        }
        Ok(())
    }

    /// Tells that the folder was read for the first time.
    pub(super) async fn listed(&mut self) -> Result<(), Unheard> {
        self.tell(Change::Listed).await
    }

    async fn tell(&mut self, change: Change) -> Result<(), Unheard> {
        self.changes.send(change).await.map_err(|_| Unheard)
    }

    /// Says once that the folder cannot be read. What runs goes on.
    pub(super) fn unreadable(&mut self, path: &Path, error: &io::Error) {
        let complaint = error.to_string();
        if self.complaint.as_ref() != Some(&complaint) {
            let path = path.display();
            tracing::warn!("The handlers' folder {path} cannot be read: {error}; what runs goes on");
        }
        self.complaint = Some(complaint);
    }

    /// Begins to bring the handlers in line with the files.
    pub(super) async fn take(&mut self, files: BTreeMap<String, Files>) -> Result<(), Unheard> {
        self.complaint = None;
        let new: BTreeSet<String> =
            files.keys().filter(|stem| !self.places.contains_key(*stem)).cloned().collect();
        let gone: Vec<String> =
            self.places.keys().filter(|stem| !files.contains_key(*stem)).cloned().collect();
        for stem in gone {
            let place = self.places.remove(&stem).unwrap_or_default();
            self.departed.settle(&stem, None);
            if let Some(native) = self.natives.get(&stem).cloned() {
                // The file never ran; what was said against it is over.
                self.tell(Change::Swapped(native)).await?;
            } else if let Ok(name) = HandlerName::parse(&stem) {
                let digest = place.running.map(|handler| Arc::clone(handler.current().digest()));
                self.departed.add(name.clone(), digest, &new);
                self.tell(Change::Removed(name)).await?;
            }
        }
        for (stem, files) in files {
            if let Some(change) = self.look(&stem, files) {
                self.tell(change).await?;
            }
        }
        Ok(())
    }

    /// Files as they are now; where they changed by their stamps a load begins.
    fn look(&mut self, stem: &str, files: Files) -> Option<Change> {
        let place = self.places.entry(stem.to_owned()).or_default();
        if place.seen.as_ref() == Some(&files) {
            return None;
        }
        if place.loading.is_some() {
            place.changed_since = true;
            return None;
        }
        place.seen = Some(files.clone());
        let name = match HandlerName::parse(stem) {
            Ok(name) => name,
            Err(error) => {
                self.departed.settle(stem, None);
                tracing::warn!("{stem}.wasm is not loaded: {}", Refused::Name(error));
                return None;
            }
        };
        if let Some(native) = self.natives.get(stem) {
            self.departed.settle(stem, None);
            place.running = Some(Arc::clone(native));
            return refuse(name, &Refused::NameOfNative, place);
        }
        self.last += 1;
        let number = self.last;
        place.loading = Some(number);
        place.changed_since = false;
        let attempt = Attempt {
            engine: Arc::clone(&self.engine),
            config: Arc::clone(&self.config),
            name: name.clone(),
            files,
            running: place.running.as_ref().map(|handler| handler.current()),
            tried: place.tried.clone(),
        };
        let of = name.clone();
        self.loads.push(Box::pin(async move { Load { number, name: of, loaded: attempt.run().await } }));
        let first = place.running.is_none() && place.refused.is_none();
        first.then_some(Change::Compiling(name))
    }

    /// The next load that ends; `None` while there is none. Cancel safe.
    pub(super) async fn loaded(&mut self) -> Option<Load> {
        self.loads.next().await
    }

    /// Takes what came of a load; gives whether the files have changed since, so that they are to be looked at.
    pub(super) async fn apply(&mut self, load: Load) -> Result<bool, Unheard> {
        let Load { number, name, loaded } = load;
        let stem = name.as_str();
        // Of a place that is gone, perhaps with another in its stead.
        if self.places.get(stem).is_none_or(|place| place.loading != Some(number)) {
            return Ok(false);
        }
        let mut place = self.places.remove(stem).unwrap_or_default();
        place.loading = None;
        let mut changed_since = place.changed_since;
        let change = match loaded {
            Loaded::Same => {
                self.departed.settle(stem, None);
                None
            }
            Loaded::Overtaken => {
                tracing::info!(handler.name = %name, "The files of {name} changed while they were loaded; they are read again");
                place.seen = None;
                changed_since = true;
                None
            }
            Loaded::Unread(refused) => {
                // Should the same contents come back, what is said here is over.
                place.tried = None;
                self.refused(name.clone(), &refused, &mut place)
            }
            Loaded::Tried(contents, Err(refused)) => {
                place.tried = (!refused.is_passing()).then_some(contents);
                self.refused(name.clone(), &refused, &mut place)
            }
            Loaded::Tried(contents, Ok(component)) => {
                place.tried = Some(contents);
                place.refused = None;
                let before = self.departed.settle(stem, Some(component.digest()));
                Some(self.run(name.clone(), component, &mut place, before.as_ref()))
            }
        };
        self.places.insert(stem.to_owned(), place);
        if let Some(change) = change {
            self.tell(change).await?;
        }
        Ok(changed_since)
    }

    fn refused(&mut self, name: HandlerName, refused: &Refused, place: &mut Place) -> Option<Change> {
        self.departed.settle(name.as_str(), None);
        if refused.is_passing() {
            place.seen = None;
        }
        refuse(name, refused, place)
    }

    /// `before` is its name until now, where only that changed.
    fn run(
        &self,
        name: HandlerName,
        component: Component,
        place: &mut Place,
        before: Option<&HandlerName>,
    ) -> Change {
        let digest = Arc::clone(component.digest());
        let new = Handler::new(name.clone(), component, &self.config);
        if let Some(handler) = &place.running
            && handler.group == new.group
            && handler.current().subscriptions() == new.current().subscriptions()
            // What was polled for the one way of acknowledging is not to be called in the other.
            && handler.current().manifest().ack == new.current().manifest().ack
        {
            handler.component.store(new.current());
            tracing::info!(handler.name = %name, handler.digest = %digest, "Handler {name} now runs {digest}");
            return Change::Swapped(Arc::clone(handler));
        }
        let group = &new.group;
        match before {
            Some(before) => {
                tracing::info!(handler.name = %name, handler.digest = %digest, "Handler {before} is now {name}: it runs {digest} in group {group}");
            }
            None => {
                tracing::info!(handler.name = %name, handler.digest = %digest, "Handler {name} runs {digest} in group {group}");
            }
        }
        let handler = Arc::new(new);
        place.running = Some(Arc::clone(&handler));
        Change::Running(handler)
    }
}

/// Says it once for each reason.
fn refuse(name: HandlerName, refused: &Refused, place: &mut Place) -> Option<Change> {
    let reason = refused.to_string();
    if place.refused.as_ref() == Some(&reason) && place.seen.is_none() {
        return None;
    }
    place.refused = Some(reason.clone());
    let keeps = place.running.as_ref().map(|handler| Arc::clone(handler.current().digest()));
    match &keeps {
        Some(digest) => tracing::warn!(handler.name = %name, "Handler {name} keeps {digest}: {reason}"),
        None => tracing::warn!(handler.name = %name, "Handler {name} does not run: {reason}"),
    }
    Some(Change::Refused { name, reason, keeps })
}
