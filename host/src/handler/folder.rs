//! The drop folder: `NAME.wasm` with its `NAME.toml`, never subfolders, since sources lie there.
//!
//! Events only say "look"; what a file is decides by its content's digest. A bad file changes nothing and says
//! why, once. Handlers are loaded side by side, off the message path; of one name one load after another.

mod departed;
mod load;
mod scan;
mod shelf;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use scan::is_handler;
pub(super) use scan::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX, read_bounded};
use shelf::Shelf;
use watch::Watch;

use super::{Engine, Handler};
use crate::config::{Config, HandlerName};

/// A missed event costs no more than this; network folders have none.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Change of a handler in the folder.
#[derive(Debug)]
pub(crate) enum Change {
    /// A new file is being compiled. Of one that runs this is not told.
    Compiling(HandlerName),
    /// The handler is new, or its group, subscriptions or `ack` changed: this takes the place of an earlier one
    /// of its name.
    Running(Arc<Handler>),
    /// The same handler as before has another component or manifest in it.
    Swapped(Arc<Handler>),
    /// The files changed for the worse.
    Refused {
        /// The handler.
        name: HandlerName,
        /// Description of what is wrong, and the remedy.
        reason: String,
        /// The digest of the version that goes on; `None` where none ran.
        keeps: Option<Arc<str>>,
    },
    /// The file is gone.
    Removed(HandlerName),
    /// The folder was read for the first time: all handlers that are there were told of.
    Listed,
}

/// Reason why there is nothing to watch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// The folder was not there at the start.
    #[error("the handlers' folder {} cannot be read: {source}; create it, or name another as host.handlers", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// Error of the system.
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
        // Watch first and look then: what changes in between is looked at again.
        let mut watch = Watch::new(self.path.clone());
        let mut shelf =
            Shelf::new(Arc::clone(&self.engine), Arc::clone(&self.config), &self.natives, changes);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            listening = shelf.begin() => if listening.is_err() { return Ok(()) },
        }
        let (mut first, mut look) = (true, true);
        loop {
            if look {
                watch.renew();
                match scan::list(self.path.clone()).await {
                    Ok(files) => {
                        tokio::select! {
                            () = stop.cancelled() => return Ok(()),
                            listening = shelf.take(files) => if listening.is_err() { return Ok(()) },
                        }
                        if first && shelf.listed().await.is_err() {
                            return Ok(());
                        }
                    }
                    Err(source) if first => {
                        return Err(FolderError::Unreadable { path: self.path, source });
                    }
                    Err(source) => shelf.unreadable(&self.path, &source),
                }
                first = false;
            }
            look = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(load) = shelf.loaded() => {
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        applied = shelf.apply(load) => match applied {
                            Ok(changed_since) => changed_since,
                            Err(shelf::Unheard) => return Ok(()),
                        },
                    }
                }
                () = watch.changed() => true,
                () = tokio::time::sleep(LOOK_EVERY) => true,
            };
        }
    }
}
