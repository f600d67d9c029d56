//! One attempt to make a version of a handler of its files. It tells nobody and changes nothing.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::scan::{COMPONENT_BYTES_MAX, Files, MANIFEST_BYTES_MAX, read_bounded};
use crate::config::{Config, HandlerName, Manifest};
use crate::handler::compile::{Wasm, digest};
use crate::handler::refused::Refused;
use crate::handler::{Component, Engine};

/// Digests of a component and of its manifest.
pub(super) type Contents = (Arc<str>, Arc<str>);

/// Attempt to load a handler's files.
pub(super) struct Attempt {
    pub(super) engine: Arc<Engine>,
    pub(super) config: Arc<Config>,
    pub(super) name: HandlerName,
    pub(super) files: Files,
    /// The version that runs.
    pub(super) running: Option<Arc<Component>>,
    /// The contents that were last tried.
    pub(super) tried: Option<Contents>,
}

/// Result of an attempt.
pub(super) enum Loaded {
    /// The contents are those that were last tried.
    Same,
    /// The files were written while they were read, or the result is of files that are no more.
    Overtaken,
    /// The contents that were tried, and what they gave.
    Tried(Contents, Result<Component, Refused>),
    /// Nothing is known about the contents.
    Unread(Refused),
}

/// The files' contents at one moment.
struct Read {
    wasm: Wasm,
    manifest: Option<String>,
    manifest_digest: Arc<str>,
}

impl Attempt {
    pub(super) async fn run(self) -> Loaded {
        let files = self.files.clone();
        let read = match spawn_blocking(move || read(&files)).await {
            Ok(Ok(Some(read))) => read,
            Ok(Ok(None)) => return Loaded::Overtaken,
            Ok(Err(refused)) => return Loaded::Unread(refused),
            Err(error) => return Loaded::Unread(Refused::Unavailable(error.to_string())),
        };
        let contents = (Arc::clone(read.wasm.version()), Arc::clone(&read.manifest_digest));
        if self.tried.as_ref() == Some(&contents) {
            return Loaded::Same;
        }
        let result = self.build(read).await;
        let files = self.files.clone();
        match spawn_blocking(move || files.now()).await {
            // A component and its manifest that change together are taken together: new code never runs under
            // the grants of the old.
            Ok(Some(now)) if now.manifest != self.files.manifest => Loaded::Overtaken,
            // What was wrong is not there any more.
            Ok(Some(now)) if now.wasm != self.files.wasm && result.is_err() => Loaded::Overtaken,
            Ok(None) => Loaded::Overtaken,
            Ok(Some(_)) | Err(_) => Loaded::Tried(contents, result),
        }
    }

    async fn build(&self, read: Read) -> Result<Component, Refused> {
        let manifest = match &read.manifest {
            Some(text) => Manifest::parse(text, &self.config).map_err(Refused::Manifest)?,
            None => Manifest::default_for(&self.config),
        };
        let manifest = Arc::new(manifest);
        match &self.running {
            // The same code under another manifest is not compiled again.
            Some(running) if running.digest() == read.wasm.version() => {
                Component::clone(running).with_manifest(manifest)
            }
            Some(_) | None => self.engine.load(&self.name, read.wasm, manifest).await,
        }
    }
}

/// `None` where they changed meanwhile.
fn read(files: &Files) -> Result<Option<Read>, Refused> {
    if let Some(other) = &files.other {
        return Err(Refused::TwoFiles { of: files.wasm.0.clone(), other: other.clone() });
    }
    let wasm = Wasm::of_file(&files.wasm.0, read_bounded(&files.wasm.0, COMPONENT_BYTES_MAX)?);
    let manifest = match &files.manifest {
        Some((path, _)) => Some(read_bounded(path, MANIFEST_BYTES_MAX)?),
        None => None,
    };
    if files.now().as_ref() != Some(files) {
        return Ok(None);
    }
    Ok(Some(Read {
        wasm,
        manifest_digest: manifest.as_deref().map_or_else(|| "".into(), digest),
        manifest: manifest.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    }))
}
