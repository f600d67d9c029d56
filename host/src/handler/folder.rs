//! The drop folder: `NAME.wasm` with its `NAME.toml`, never subfolders, since sources lie there.
//!
//! The watcher only says "look"; what a file is decides by its content's digest. A bad file changes
//! nothing and says why, once. Files are compiled one after another, off the message path.

mod scan;
mod shelf;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::RecursiveMode;
use notify_debouncer_full::{DebounceEventResult, new_debouncer};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

pub(super) use scan::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX, read_bounded};
use shelf::Shelf;

use super::{Engine, Handler};
use crate::config::{Config, HandlerName};

/// A file is looked at when it was left alone for so long.
const QUIET: Duration = Duration::from_millis(100);
/// A missed event costs no more than this.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What happened to a handler.
#[derive(Debug)]
pub(crate) enum Change {
    /// It is new, or its group or subscriptions changed: this takes the place of an earlier one of its name.
    Running(Arc<Handler>),
    /// The same handler as before has another component or manifest in it.
    Swapped(Arc<Handler>),
    /// Its files changed for the worse.
    Refused {
        /// The handler.
        name: HandlerName,
        /// What is wrong and what to do.
        reason: String,
        /// The digest of the version that goes on; `None` where none ran.
        keeps: Option<Arc<str>>,
    },
    /// Its file is gone.
    Removed(HandlerName),
}

/// Why there is nothing to watch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// The folder was not there at the start.
    #[error("the handlers' folder {} cannot be read: {source}; create it, or name another as host.handlers", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// The drop folder of one host.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    engine: Arc<Engine>,
    config: Arc<Config>,
    natives: Vec<Arc<Handler>>,
}

impl Folder {
    /// Nothing is read yet. No file takes the name of one of the `natives`.
    #[must_use]
    pub(crate) fn new(
        path: PathBuf,
        engine: Arc<Engine>,
        config: Arc<Config>,
        natives: Vec<Arc<Handler>>,
    ) -> Self {
        Self { path, engine, config, natives }
    }

    /// Tells of the native handlers, loads what is there, then follows what changes, until it is stopped or nobody listens.
    ///
    /// # Errors
    /// See [`FolderError`]; a folder that goes away later is waited for.
    pub(crate) async fn run(
        self,
        changes: mpsc::Sender<Change>,
        stop: CancellationToken,
    ) -> Result<(), FolderError> {
        let changed = Arc::new(Notify::new());
        // Watch first and look then: what changes in between is looked at again.
        let _watcher = self.watch(&changed);
        let mut shelf =
            Shelf::new(Arc::clone(&self.engine), Arc::clone(&self.config), &self.natives, changes);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            listening = shelf.begin() => if listening.is_err() { return Ok(()) },
        }
        let mut first = true;
        loop {
            match scan::list(self.path.clone()).await {
                Ok(files) => {
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        listening = shelf.take(files) => if listening.is_err() { return Ok(()) },
                    }
                }
                Err(source) if first => return Err(FolderError::Unreadable { path: self.path, source }),
                Err(source) => shelf.unreadable(&self.path, &source),
            }
            first = false;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = changed.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Without a watcher (the system has no more of them) the folder is still looked at.
    fn watch(&self, changed: &Arc<Notify>) -> Option<impl Sized + use<>> {
        let changed = Arc::clone(changed);
        let wake = move |_: DebounceEventResult| changed.notify_one();
        let watcher = new_debouncer(QUIET, Some(QUIET), wake)
            .and_then(|mut watcher| watcher.watch(&self.path, RecursiveMode::NonRecursive).map(|()| watcher));
        watcher
            .inspect_err(|error| {
                let path = self.path.display();
                tracing::warn!("{path} cannot be watched ({error}); it is looked at every {LOOK_EVERY:?}");
            })
            .ok()
    }
}
