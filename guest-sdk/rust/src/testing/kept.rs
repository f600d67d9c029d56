//! State and ids that outlive a call.

use std::collections::{BTreeMap, HashMap};

use crate::bindings::mailroom::contract::state::Scope;

/// State of both scopes, and what was published once.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) keyed: HashMap<Vec<u8>, BTreeMap<String, Vec<u8>>>,
    pub(super) shared: BTreeMap<String, Vec<u8>>,
    /// Ids by idempotency key.
    pub(super) published: HashMap<String, String>,
    ids: u64,
}

impl Kept {
    pub(super) fn next_id(&mut self) -> String {
        self.ids += 1;
        format!("00000000-0000-7000-9000-{:012}", self.ids)
    }

    /// The values of a scope; none where keyed state is asked for without a key.
    pub(super) fn scope(
        &mut self,
        scope: Scope,
        key: Option<&[u8]>,
    ) -> Option<&mut BTreeMap<String, Vec<u8>>> {
        match scope {
            Scope::Keyed => key.map(|key| self.keyed.entry(key.to_vec()).or_default()),
            Scope::Shared => Some(&mut self.shared),
        }
    }
}
