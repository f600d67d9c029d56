//! Handlers as WebAssembly components: loading, limits, one call in a new instance, the drop folder.
//!
//! This is the only home of wasmtime. A call buffers what its guest asks for and never commits anything:
//! effects leave here only with the outcome `completed`, and settle decides. Whatever a guest does, the
//! host goes on; whatever a file is, the version that runs goes on.

mod bindings;
mod check;
mod clock;
mod compile;
mod component;
mod engine;
mod fault;
mod folder;
mod guest;
mod imports;
mod meter;
mod output;
mod refused;
mod subscription;
#[cfg(test)]
mod tests;
mod translate;
mod world;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub(crate) use check::check;
pub(crate) use component::Component;
pub(crate) use engine::{Engine, EngineError, EngineSettings};
pub(crate) use folder::{Change, Folder, FolderError};
pub(crate) use subscription::Subscription;

use crate::config::HandlerName;

/// A handler that runs: its name and group stay, its component may be replaced between two messages.
#[derive(Debug)]
pub(crate) struct Handler {
    /// The stem of its file.
    pub(crate) name: HandlerName,
    /// Its Kafka consumer group.
    pub(crate) group: Arc<str>,
    component: ArcSwap<Component>,
}

impl Handler {
    /// The version to run now. Take it once per message: a reload then never switches halfway.
    #[must_use]
    pub(crate) fn current(&self) -> Arc<Component> {
        self.component.load_full()
    }
}
