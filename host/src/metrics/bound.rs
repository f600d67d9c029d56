//! Instruments that were bound to their attributes.

use std::collections::HashMap;
use std::hash::Hash;

/// Instruments of one kind, each bound when it is first wanted.
#[derive(Debug)]
pub(super) struct Bound<K, B>(HashMap<K, B>);

impl<K, B> Default for Bound<K, B> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq, B> Bound<K, B> {
    /// Gives the instrument of `key`.
    pub(super) fn of(&mut self, key: K, bind: impl FnOnce() -> B) -> &B {
        self.0.entry(key).or_insert_with(bind)
    }
}
