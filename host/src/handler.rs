//! Handlers: WebAssembly components, each call in a new instance (or a reused one) under limits, with the drop folder
//! that they come from; and native ones, Rust in this process.
//!
//! This is the only home of wasmtime. A call buffers what its handler asks for and never commits anything:
//! effects leave here only with the outcome `completed`, and settle decides. Whatever a guest does, the
//! host goes on; whatever a file is, the version that runs goes on.

mod backtrace;
mod bindings;
mod check;
mod clock;
mod compile;
mod compiled;
mod component;
mod effects;
mod engine;
mod fault;
mod folder;
mod guest;
mod http;
mod imports;
mod instance;
mod linked;
mod meter;
mod native;
mod output;
mod refused;
mod rehearsal;
mod reply;
mod sandbox;
mod script;
mod subscription;
#[cfg(test)]
pub(crate) mod tests;
mod translate;
mod world;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub(crate) use check::{Checked, Reach, Report, check, load};
#[cfg(test)]
pub(crate) use compile::Wasm;
pub(crate) use compile::{
    COMPILE_COMMAND, CompileLimits, CompilePace, compile_in_this_process, this_binary_compiles,
};
pub(crate) use component::Component;
pub(crate) use effects::Asked;
pub use effects::{PublishError, StateError};
pub(crate) use engine::{Engine, EngineError, EngineSettings};
pub(crate) use folder::{Change, Folder, FolderError, is_handler};
pub use native::{Call, Handler as NativeHandler, Message, Outgoing, State};
pub(crate) use refused::Refused;
pub(crate) use rehearsal::{HttpAnswer, Rehearsal};
pub use reply::Failure;
pub use subscription::Subscription;
pub(crate) use world::takes_messages;

use crate::config::{Config, HandlerName, Manifest};

/// A handler that runs: its name and group stay, its component may be replaced between two messages.
#[derive(Debug)]
pub(crate) struct Handler {
    /// The stem of its file.
    pub(crate) name: HandlerName,
    /// Kafka consumer group of the handler.
    pub(crate) group: Arc<str>,
    component: ArcSwap<Component>,
}

impl Handler {
    /// Makes a handler of its first version; the group is the manifest's, else the one by its name.
    fn new(name: HandlerName, component: Component, config: &Config) -> Self {
        let group: Arc<str> = match &component.manifest().group {
            Some(group) => group.as_str().into(),
            None => name.default_group(&config.namespace).into(),
        };
        Self { name, group, component: ArcSwap::new(Arc::new(component)) }
    }

    /// A native one. Its subscriptions are asked for, which runs its code.
    ///
    /// # Errors
    /// Where it subscribes to no topic, or panics.
    pub(crate) fn native(
        name: HandlerName,
        manifest: Manifest,
        handler: impl NativeHandler,
        config: &Config,
    ) -> Result<Self, Refused> {
        let component = native::describe(&name, Arc::new(manifest), handler)?;
        Ok(Self::new(name, component, config))
    }

    /// The version to run now. Take it once per message: a reload then never switches halfway.
    #[must_use]
    pub(crate) fn current(&self) -> Arc<Component> {
        self.component.load_full()
    }
}
