//! A table whose rows are seen as Postgres shows them: what a transaction wrote is its own until it commits.

use std::collections::BTreeMap;

/// The number of a transaction; zero is nobody, who sees what is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tx(pub(crate) u64);

/// Transaction number of readers, who see what is committed.
pub(crate) const NOBODY: Tx = Tx(0);

/// Rows by key. Whoever writes one must have locked it.
#[derive(Debug, Clone)]
pub(crate) struct Table<K, V> {
    rows: BTreeMap<K, Versions<V>>,
    touched: BTreeMap<Tx, Vec<K>>,
}

#[derive(Debug, Clone)]
struct Versions<V> {
    committed: Option<V>,
    dirty: Option<(Tx, Option<V>)>,
}

/// A row before and after a commit.
#[derive(Debug, Clone)]
pub(crate) struct Change<K, V> {
    pub(crate) key: K,
    pub(crate) old: Option<V>,
    pub(crate) new: Option<V>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), touched: BTreeMap::new() }
    }
}

impl<V> Versions<V> {
    fn seen_by(&self, tx: Tx) -> Option<&V> {
        match &self.dirty {
            Some((writer, row)) if *writer == tx => row.as_ref(),
            _ => self.committed.as_ref(),
        }
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    /// The row as the transaction sees it.
    pub(crate) fn get(&self, tx: Tx, key: &K) -> Option<&V> {
        self.rows.get(key).and_then(|versions| versions.seen_by(tx))
    }

    /// All rows as the transaction sees them, by key.
    pub(crate) fn rows(&self, tx: Tx) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter().filter_map(move |(key, versions)| Some((key, versions.seen_by(tx)?)))
    }

    /// Shows all rows as they are committed, and as somebody has them who has not committed yet.
    pub(crate) fn show(&self, mut to: impl FnMut(&K, Option<&V>, Option<(Tx, Option<&V>)>)) {
        for (key, versions) in &self.rows {
            let dirty = versions.dirty.as_ref().map(|(tx, row)| (*tx, row.as_ref()));
            to(key, versions.committed.as_ref(), dirty);
        }
    }

    /// Writes a row, or deletes it.
    pub(crate) fn put(&mut self, tx: Tx, key: K, row: Option<V>) {
        let versions = self.rows.entry(key.clone()).or_insert(Versions { committed: None, dirty: None });
        if versions.dirty.is_none() {
            self.touched.entry(tx).or_default().push(key);
        }
        versions.dirty = Some((tx, row));
    }

    /// Changes a row that the transaction sees; gives whether there is one.
    pub(crate) fn update(&mut self, tx: Tx, key: &K, change: impl FnOnce(&mut V)) -> bool {
        let Some(mut row) = self.get(tx, key).cloned() else { return false };
        change(&mut row);
        self.put(tx, key.clone(), Some(row));
        true
    }

    /// Ends what the transaction wrote; gives what a commit changed.
    pub(crate) fn end(&mut self, tx: Tx, commit: bool) -> Vec<Change<K, V>> {
        let mut changes = Vec::new();
        for key in self.touched.remove(&tx).unwrap_or_default() {
            let Some(versions) = self.rows.get_mut(&key) else { continue };
            let Some((_, new)) = versions.dirty.take() else { continue };
            if commit {
                let old = std::mem::replace(&mut versions.committed, new.clone());
                changes.push(Change { key: key.clone(), old, new });
            }
            if versions.committed.is_none() {
                self.rows.remove(&key);
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_see_what_is_committed_and_an_abort_leaves_nothing() {
        let mut table: Table<u8, u8> = Table::default();
        table.put(Tx(1), 1, Some(10));
        assert_eq!((table.get(Tx(1), &1), table.get(NOBODY, &1)), (Some(&10), None));
        assert_eq!(table.end(Tx(1), true).len(), 1);
        assert!(table.update(Tx(2), &1, |value| *value += 1));
        table.put(Tx(2), 2, Some(2));
        assert_eq!((table.get(Tx(2), &1), table.get(Tx(3), &1)), (Some(&11), Some(&10)));
        assert!(table.end(Tx(2), false).is_empty());
        assert_eq!(table.rows(NOBODY).collect::<Vec<_>>(), [(&1, &10)]);
        table.put(Tx(4), 1, None);
        assert_eq!(table.rows(Tx(4)).count(), 0);
        table.end(Tx(4), true);
        assert_eq!(table.get(NOBODY, &1), None);
    }
}
