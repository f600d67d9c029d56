//! The version that runs, as the machine knows it.

use std::sync::Arc;

use mailroom_core::handler_machine::version::Version;

use crate::config::{Ack, Settle};
use crate::handler::{Component, Handler};

/// A component, and what of its manifest goes with each of its calls.
pub(super) struct Running {
    pub(super) component: Arc<Component>,
    pub(super) version: Arc<Version>,
}

impl Running {
    pub(super) fn of(handler: &Handler) -> Self {
        let component = handler.current();
        Self { version: Arc::new(version(&component, 0)), component }
    }

    /// Takes the handler's current version; gives it where it is another one.
    pub(super) fn renew(&mut self, handler: &Handler) -> Option<Arc<Version>> {
        let component = handler.current();
        if Arc::ptr_eq(&component, &self.component) {
            return None;
        }
        self.version = Arc::new(version(&component, self.version.id + 1));
        self.component = component;
        Some(Arc::clone(&self.version))
    }
}

fn version(component: &Component, id: u64) -> Version {
    let manifest = component.manifest();
    Version {
        id,
        concurrency: manifest.concurrency,
        deadline: manifest.limits.deadline,
        breaker: manifest.breaker,
        retry: manifest.retry,
        behind_dead: manifest.behind_dead,
        once: manifest.ack == Ack::AtMostOnce,
        single: manifest.settle == Settle::Single,
        // A message whose call may use SQL is settled by its row.
        stored_first: manifest.grants.sql.is_some(),
        dead_letter_topic: manifest.dead_letter_topic.clone(),
    }
}
