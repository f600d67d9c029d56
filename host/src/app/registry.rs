//! The registry rows of this host's handlers. They are for people: what cannot be written now is
//! written later, and nothing waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::config::{HandlerName, Namespace};
use crate::db::handlers::{self, Entry};
use crate::db::{Db, DbError};
use crate::handler::Handler;

/// A handler as the registry shows it.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) group: Arc<str>,
    pub(super) digest: Option<Arc<str>>,
    pub(super) version: Option<String>,
    pub(super) state: &'static str,
    pub(super) subscriptions: serde_json::Value,
    pub(super) last_error: Option<String>,
}

impl Shown {
    pub(super) fn running(handler: &Handler) -> Self {
        let component = handler.current();
        Self {
            group: Arc::clone(&handler.group),
            digest: Some(Arc::clone(component.digest())),
            version: component.manifest().version.clone(),
            state: "running",
            subscriptions: serde_json::to_value(component.subscriptions()).unwrap_or_default(),
            last_error: None,
        }
    }

    pub(super) fn entry<'s>(&'s self, name: &'s HandlerName) -> Entry<'s> {
        Entry {
            name: name.as_str(),
            group: &self.group,
            digest: self.digest.as_deref(),
            version: self.version.as_deref(),
            state: self.state,
            subscriptions: self.subscriptions.clone(),
            last_error: self.last_error.as_deref(),
        }
    }

    /// One of which nothing runs, in the group that it would have by its name.
    pub(super) fn without_version(name: &HandlerName, namespace: &Namespace, state: &'static str) -> Self {
        Self {
            group: Arc::from(name.default_group(namespace)),
            digest: None,
            version: None,
            state,
            subscriptions: serde_json::json!([]),
            last_error: None,
        }
    }
}

/// Registry of this host's handlers: what was shown of each, and what was not written yet.
#[derive(Debug, Default)]
pub(super) struct Registry {
    shown: BTreeMap<HandlerName, Shown>,
    /// The groups in which handlers work, or end their work, whatever their newest versions say.
    at_work: BTreeMap<HandlerName, Arc<str>>,
    unwritten: Vec<HandlerName>,
}

impl Registry {
    pub(super) fn show(&mut self, name: HandlerName, shown: Shown) {
        self.shown.insert(name.clone(), shown);
        self.unwritten.push(name);
    }

    /// Changes what is shown of a handler, where anything is.
    pub(super) fn amend(&mut self, name: &HandlerName, change: impl FnOnce(&mut Shown)) {
        if let Some(shown) = self.shown.get_mut(name) {
            change(shown);
            self.unwritten.push(name.clone());
        }
    }

    /// Work in a group begins.
    pub(super) fn began(&mut self, name: &HandlerName, group: &Arc<str>) {
        self.at_work.insert(name.clone(), Arc::clone(group));
        self.unwritten.push(name.clone());
    }

    /// Work has ended, to the last call.
    pub(super) fn ended(&mut self, name: &HandlerName) {
        self.at_work.remove(name);
        self.unwritten.push(name.clone());
    }

    pub(super) fn has(&self, name: &HandlerName) -> bool {
        self.shown.contains_key(name)
    }

    /// Names the handlers of which nothing runs though their files are there, with the reason.
    pub(super) fn unready(&self) -> impl Iterator<Item = String> {
        let unready = self.shown.iter().filter(|(_, shown)| matches!(shown.state, "compiling" | "refused"));
        unready.map(|(name, shown)| match &shown.last_error {
            Some(why) => format!("{name} is {}: {why}", shown.state),
            None => format!("{name} is {}", shown.state),
        })
    }

    /// A new life has no rows yet.
    pub(super) fn begin(&mut self) {
        self.at_work.clear();
        self.unwritten = self.shown.keys().cloned().collect();
    }

    /// Writes what is not written.
    pub(super) async fn write(&mut self, db: &Db, host: Uuid) -> Result<(), DbError> {
        while let Some(name) = self.unwritten.last() {
            if let Some(shown) = self.shown.get(name) {
                let entry = shown.entry(name);
                let group = self.at_work.get(name).map_or(entry.group, |group| group);
                handlers::record(db, host, &Entry { group, ..entry }).await?;
            }
            self.unwritten.pop();
        }
        Ok(())
    }
}
