//! What of the folder runs, and what became of the files as they were last seen.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Change;
use super::scan::{COMPONENT_BYTES_MAX, Files, MANIFEST_BYTES_MAX, read_bounded};
use crate::config::{Config, HandlerName, Manifest};
use crate::handler::compile::digest;
use crate::handler::refused::Refused;
use crate::handler::{Component, Engine, Handler};

/// All handlers of the folder.
pub(super) struct Shelf {
    /// Handlers that no file is taken for, by name.
    natives: BTreeMap<String, Arc<Handler>>,
    engine: Arc<Engine>,
    config: Arc<Config>,
    changes: mpsc::Sender<Change>,
    places: BTreeMap<String, Place>,
    /// The last complaint about the folder itself.
    complaint: Option<String>,
}

/// One handler's place.
#[derive(Default)]
struct Place {
    /// The files as they were last seen; `None` where they are to be tried again.
    seen: Option<Files>,
    /// Digests of the contents that were last tried.
    tried: Option<(Arc<str>, Arc<str>)>,
    /// Why they were refused, if they were.
    refused: Option<String>,
    running: Option<Arc<Handler>>,
}

/// Contents of a handler's files.
struct Contents {
    wasm: Vec<u8>,
    digest: Arc<str>,
    manifest: Option<String>,
    manifest_digest: Arc<str>,
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
        Self { natives, engine, config, changes, places: BTreeMap::new(), complaint: None }
    }

    /// Tells of the native handlers.
    pub(super) async fn begin(&self) -> Result<(), Unheard> {
        for (name, native) in &self.natives {
            let (digest, group) = (Arc::clone(native.current().digest()), &native.group);
            tracing::info!(handler.name = %name, handler.digest = %digest, "Native handler {name} runs in group {group}");
            self.changes.send(Change::Running(Arc::clone(native))).await.map_err(|_| Unheard)?;
        }
        Ok(())
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

    /// Brings the handlers in line with the files.
    pub(super) async fn take(&mut self, files: BTreeMap<String, Files>) -> Result<(), Unheard> {
        self.complaint = None;
        let gone: Vec<String> =
            self.places.keys().filter(|stem| !files.contains_key(*stem)).cloned().collect();
        for stem in gone {
            self.places.remove(&stem);
            if let Some(native) = self.natives.get(&stem) {
                // The file never ran; what was said against it is over.
                self.changes.send(Change::Swapped(Arc::clone(native))).await.map_err(|_| Unheard)?;
            } else if let Ok(name) = HandlerName::parse(&stem) {
                tracing::info!(handler.name = %name, "Handler {name} is removed; its messages wait");
                self.changes.send(Change::Removed(name)).await.map_err(|_| Unheard)?;
            }
        }
        for (stem, files) in files {
            let mut place = self.places.remove(&stem).unwrap_or_default();
            if place.seen.as_ref() == Some(&files) {
                self.places.insert(stem, place);
                continue;
            }
            let change = self.look(&stem, files, &mut place).await;
            self.places.insert(stem, place);
            if let Some(change) = change {
                self.changes.send(change).await.map_err(|_| Unheard)?;
            }
        }
        Ok(())
    }

    /// Files that changed by their stamps. `None` where that makes no difference.
    async fn look(&self, stem: &str, files: Files, place: &mut Place) -> Option<Change> {
        let name = match HandlerName::parse(stem) {
            Ok(name) => name,
            Err(error) => {
                place.seen = Some(files);
                tracing::warn!("{stem}.wasm is not loaded: {}", Refused::Name(error));
                return None;
            }
        };
        if let Some(native) = self.natives.get(stem) {
            place.seen = Some(files);
            place.running = Some(Arc::clone(native));
            return refuse(name, &Refused::NameOfNative, place);
        }
        match self.load(&name, files.clone(), place).await {
            Ok(Some(component)) => {
                place.seen = Some(files);
                place.refused = None;
                Some(self.run(name, component, place))
            }
            Ok(None) => {
                place.seen = Some(files);
                None
            }
            Err(refused) => {
                place.seen = (!refused.is_passing()).then_some(files);
                refuse(name, &refused, place)
            }
        }
    }

    /// `None` where the contents are those that were last tried.
    async fn load(
        &self,
        name: &HandlerName,
        files: Files,
        place: &mut Place,
    ) -> Result<Option<Component>, Refused> {
        let contents = spawn_blocking(move || read(&files)).await;
        let contents = contents.map_err(|error| Refused::Unavailable(error.to_string()))??;
        let tried = (Arc::clone(&contents.digest), Arc::clone(&contents.manifest_digest));
        if place.tried.as_ref() == Some(&tried) {
            return Ok(None);
        }
        let loaded = self.build(name, contents, place).await;
        let passing = loaded.as_ref().err().is_some_and(Refused::is_passing);
        place.tried = (!passing).then_some(tried);
        loaded.map(Some)
    }

    async fn build(
        &self,
        name: &HandlerName,
        contents: Contents,
        place: &Place,
    ) -> Result<Component, Refused> {
        let manifest = match &contents.manifest {
            Some(text) => Manifest::parse(text, &self.config).map_err(Refused::Manifest)?,
            None => Manifest::default_for(&self.config),
        };
        let manifest = Arc::new(manifest);
        let running = place.running.as_ref().map(|handler| handler.current());
        match running {
            // The same code under another manifest is not compiled again.
            Some(running) if *running.digest() == contents.digest => {
                Component::clone(&running).with_manifest(manifest)
            }
            Some(_) | None => self.engine.load(name, contents.wasm, manifest).await,
        }
    }

    fn run(&self, name: HandlerName, component: Component, place: &mut Place) -> Change {
        let digest = Arc::clone(component.digest());
        let new = Handler::new(name.clone(), component, &self.config);
        if let Some(handler) = &place.running
            && handler.group == new.group
            && handler.current().subscriptions() == new.current().subscriptions()
        {
            handler.component.store(new.current());
            tracing::info!(handler.name = %name, handler.digest = %digest, "Handler {name} now runs {digest}");
            return Change::Swapped(Arc::clone(handler));
        }
        tracing::info!(handler.name = %name, handler.digest = %digest, "Handler {name} runs {digest} in group {}", new.group);
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

fn read(files: &Files) -> Result<Contents, Refused> {
    let wasm = read_bounded(&files.wasm.0, COMPONENT_BYTES_MAX)?;
    let manifest = match &files.manifest {
        Some((path, _)) => Some(read_bounded(path, MANIFEST_BYTES_MAX)?),
        None => None,
    };
    Ok(Contents {
        digest: digest(&wasm),
        wasm,
        manifest_digest: manifest.as_deref().map_or_else(|| "".into(), digest),
        manifest: manifest.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    })
}
