//! A handler's state as one call sees it: what was read, with its version, and what it wrote.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::db::{Db, DbError};

/// Bytes of a message key that stand in the table as they are.
const KEY_BYTES_MAX: usize = 1024;
/// Bytes of a state value's name.
const NAME_BYTES_MAX: usize = 255;

/// Whose value it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scope {
    /// The handler's, for the message's key.
    Keyed,
    /// The handler's.
    Shared,
}

/// Why state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Keyed state of a message without a key.
    #[error("the message has no key, so it has no keyed state")]
    NoKey,
    /// Empty, too long, or U+0000 in it.
    #[error("state name {0:?} must have 1 to 255 bytes without U+0000")]
    InvalidName(String),
    /// More values in a scope than a call may load.
    #[error("the scope has more than {0} values")]
    TooMany(u32),
    /// More bytes in a scope than a call may load.
    #[error("the scope's values have more than {0} bytes")]
    TooLarge(u64),
    /// Postgres is away: the call cannot go on, and it is not the guest's fault.
    #[error(transparent)]
    Unavailable(#[from] DbError),
}

/// A value as it was read, and as the call left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The version read; 0 where there was none.
    pub(crate) version: i64,
    /// What a later read of this key sees.
    pub(crate) value: Option<Vec<u8>>,
    /// Whether it must be written.
    pub(crate) dirty: bool,
}

/// The state that one key's messages see, read on demand and written by settle.
#[derive(Debug, Clone)]
pub(crate) struct StateView {
    /// `None` for `handler invoke`, which has no servers.
    db: Option<Db>,
    group: Arc<str>,
    key: Option<Vec<u8>>,
    loaded: Vec<Scope>,
    values_max: u32,
    bytes_max: u64,
    entries: BTreeMap<(Scope, String), Entry>,
}

impl StateView {
    /// Nothing read yet.
    #[must_use]
    pub(crate) fn new(db: Option<Db>, group: Arc<str>, key: Option<Vec<u8>>) -> Self {
        let (values_max, bytes_max) = (u32::MAX, u64::MAX);
        Self { db, group, key, loaded: Vec::new(), values_max, bytes_max, entries: BTreeMap::new() }
    }

    /// Bounds what is loaded of a scope, in values and in bytes of them and their names.
    pub(crate) fn bound_loads(&mut self, values_max: u32, bytes_max: u64) {
        (self.values_max, self.bytes_max) = (values_max, bytes_max);
    }

    /// Where it is read from.
    pub(crate) fn db(&self) -> Option<&Db> {
        self.db.as_ref()
    }

    /// These values and no database.
    #[must_use]
    pub(crate) fn holding(
        key: Option<Vec<u8>>,
        values: impl IntoIterator<Item = ((Scope, String), Vec<u8>)>,
    ) -> Self {
        let entry = |value| Entry { version: 1, value: Some(value), dirty: false };
        let entries = values.into_iter().map(|(place, value)| (place, entry(value))).collect();
        Self { entries, ..Self::new(None, "".into(), key) }
    }

    /// What is known of it, in order of scope and name.
    pub(crate) fn values(&self) -> impl Iterator<Item = (Scope, &str, &[u8])> {
        let entries = self.entries.iter();
        entries.filter_map(|((scope, name), entry)| Some((*scope, name.as_str(), entry.value.as_deref()?)))
    }

    /// The value of that name, as this key's earlier messages and this call left it.
    ///
    /// # Errors
    /// See [`StateError`].
    pub(crate) async fn get(&mut self, scope: Scope, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.reach(scope, name).await?;
        Ok(self.entries.get(&(scope, name.to_owned())).and_then(|entry| entry.value.clone()))
    }

    /// Sets the value, or removes it with `None`; what it was is read first, for its version.
    ///
    /// # Errors
    /// See [`StateError`].
    pub(crate) async fn put(
        &mut self,
        scope: Scope,
        name: &str,
        value: Option<Vec<u8>>,
    ) -> Result<(), StateError> {
        self.reach(scope, name).await?;
        let entry = self.entries.entry((scope, name.to_owned())).or_insert(Entry {
            version: 0,
            value: None,
            dirty: false,
        });
        entry.dirty |= entry.value != value;
        entry.value = value;
        Ok(())
    }

    /// Names with `prefix` in byte order after `after`, at most `limit`.
    ///
    /// # Errors
    /// See [`StateError`].
    pub(crate) async fn names(
        &mut self,
        scope: Scope,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StateError> {
        self.load(scope).await?;
        let names = self.entries.iter().filter(|((of, _), entry)| *of == scope && entry.value.is_some());
        let names = names.map(|((_, name), _)| name);
        let wanted =
            names.filter(|name| name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after));
        Ok(wanted.take(limit).cloned().collect())
    }

    async fn reach(&mut self, scope: Scope, name: &str) -> Result<(), StateError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
            return Err(StateError::InvalidName(name.to_owned()));
        }
        self.load(scope).await
    }

    /// A key's values are few: one statement reads them all, once. Those beyond a bound are not sent; that there
    /// is one is enough.
    async fn load(&mut self, scope: Scope) -> Result<(), StateError> {
        let key = self.scope_key(scope)?;
        if self.loaded.contains(&scope) {
            return Ok(());
        }
        if let Some(db) = &self.db {
            let rows = sqlx::query!(
                r#"select s.name, s.version, s.bytes as "bytes!",
                          case when s.bytes <= $5 then s.value else ''::bytea end as "value!"
                     from (select name, value, version,
                                  sum(octet_length(name) + octet_length(value)) over (order by name) as bytes
                             from mailroom.state where consumer_group = $1 and scope = $2 and key = $3
                            limit $4) s"#,
                &*self.group,
                scope.as_str(),
                key,
                i64::from(self.values_max) + 1,
                i64::try_from(self.bytes_max).unwrap_or(i64::MAX),
            );
            let rows = rows.fetch_all(db.pool()).await.map_err(DbError::new("reading state"))?;
            if rows.len() > usize::try_from(self.values_max).unwrap_or(usize::MAX) {
                return Err(StateError::TooMany(self.values_max));
            }
            if rows.iter().any(|row| u64::try_from(row.bytes).unwrap_or(0) > self.bytes_max) {
                return Err(StateError::TooLarge(self.bytes_max));
            }
            for row in rows {
                let entry = Entry { version: row.version, value: Some(row.value), dirty: false };
                self.entries.insert((scope, row.name), entry);
            }
        }
        self.loaded.push(scope);
        Ok(())
    }

    fn scope_key(&self, scope: Scope) -> Result<Vec<u8>, StateError> {
        match scope {
            Scope::Shared => Ok(Vec::new()),
            Scope::Keyed => self.key.as_deref().map(stored_key).ok_or(StateError::NoKey),
        }
    }

    /// Takes what has to be written, and counts it as written: the next message of the key sees it, and
    /// reads its version, before it is committed. Where it is not, that message is redone as well.
    pub(crate) fn take_writes(&mut self) -> Vec<Write> {
        let Self { entries, key, .. } = self;
        let dirty = entries.iter_mut().filter(|(_, entry)| entry.dirty);
        let writes = dirty.map(|((scope, name), entry)| {
            let read = entry.version;
            // Versions are drawn, not counted: one that was removed and made again is never taken for
            // the one that was read.
            entry.version = if entry.value.is_some() { fastrand::i64(1..) } else { 0 };
            entry.dirty = false;
            let key = match scope {
                Scope::Keyed => key.as_deref().map(stored_key).unwrap_or_default(),
                Scope::Shared => Vec::new(),
            };
            let identity = Identity { scope: *scope, key, name: name.clone() };
            Write { identity, read, written: entry.version, value: entry.value.clone() }
        });
        writes.collect()
    }

    /// The id of the message that the group published with this idempotency key, if there is one.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub(crate) async fn first_with_key(&self, idempotency_key: &str) -> Result<Option<Uuid>, DbError> {
        match &self.db {
            Some(db) => crate::outbox::first_with_key(db, &self.group, idempotency_key).await,
            None => Ok(None),
        }
    }
}

/// The key as the table has it: an index entry has its limit, so a long key stands there as its hash.
fn stored_key(key: &[u8]) -> Vec<u8> {
    if key.len() <= KEY_BYTES_MAX { key.to_vec() } else { Sha256::digest(key).to_vec() }
}

/// Which value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Identity {
    pub(crate) scope: Scope,
    /// Empty in the shared scope.
    pub(crate) key: Vec<u8>,
    pub(crate) name: String,
}

impl Identity {
    /// From a row; `None` for a scope that this host does not know.
    pub(super) fn read(scope: &str, key: Vec<u8>, name: String) -> Option<Self> {
        let scope = [Scope::Keyed, Scope::Shared].into_iter().find(|known| known.as_str() == scope)?;
        Some(Self { scope, key, name })
    }
}

/// One write of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) identity: Identity,
    /// The version that was read; 0 where there was none.
    pub(crate) read: i64,
    /// The version that it gets; 0 where it is removed.
    pub(crate) written: i64,
    /// `None` removes it.
    pub(crate) value: Option<Vec<u8>>,
}

impl Scope {
    /// As the table spells it.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Keyed => "keyed",
            Self::Shared => "shared",
        }
    }
}
