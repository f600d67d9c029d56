//! Reads the state of handlers from Postgres, as far as their calls ask for it.

use std::sync::Arc;

pub(crate) use mailroom_core::state::Scope;
use mailroom_core::state::{KeyState, Taken};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::db::{Db, DbError};

/// Bytes of a message key that stand in the table as they are.
const KEY_BYTES_MAX: usize = 1024;
/// Bytes of a state value's name.
const NAME_BYTES_MAX: usize = 255;

/// Reason why state cannot be read or written.
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

/// The state that one key's messages see, read from Postgres on demand and written by settle.
#[derive(Debug, Clone)]
pub(crate) struct StateView {
    /// `None` for `handler invoke`, which has no servers.
    db: Option<Db>,
    group: Arc<str>,
    values_max: u32,
    bytes_max: u64,
    known: KeyState,
}

impl StateView {
    /// Nothing read yet.
    #[must_use]
    pub(crate) fn new(db: Option<Db>, group: Arc<str>, key: Option<Vec<u8>>) -> Self {
        let (values_max, bytes_max) = (u32::MAX, u64::MAX);
        let known = KeyState::new(key.map(stored_key));
        Self { db, group, values_max, bytes_max, known }
    }

    /// A call begins, which may load so many values of a scope, and so many bytes of them and their names.
    pub(crate) fn begin_call(&mut self, values_max: u32, bytes_max: u64) {
        (self.values_max, self.bytes_max) = (values_max, bytes_max);
        self.known.begin_call();
    }

    /// Returns the database that it is read from.
    pub(crate) fn db(&self) -> Option<&Db> {
        self.db.as_ref()
    }

    /// These values and no database.
    #[must_use]
    pub(crate) fn holding(
        key: Option<Vec<u8>>,
        values: impl IntoIterator<Item = ((Scope, String), Vec<u8>)>,
    ) -> Self {
        let mut view = Self::new(None, "".into(), key);
        for ((scope, name), value) in values {
            view.known.load(scope, [(name, 1, value)]);
        }
        view
    }

    /// Returns what is known of it, in order of scope and name.
    pub(crate) fn values(&self) -> impl Iterator<Item = (Scope, &str, &[u8])> {
        self.known.values()
    }

    /// Gives the bytes that it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.known.bytes()
    }

    /// The value of that name, as this key's earlier messages and this call left it.
    ///
    /// # Errors
    /// See [`StateError`].
    pub(crate) async fn get(&mut self, scope: Scope, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.reach(scope, name).await?;
        Ok(self.known.get(scope, name))
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
        self.known.put(scope, name, value);
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
        Ok(self.known.names(scope, prefix, after, limit))
    }

    /// Reads all that a call may ask for. What is too much to be loaded is left for the call to find.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub(crate) async fn load_all(&mut self) -> Result<(), DbError> {
        for scope in [Scope::Keyed, Scope::Shared] {
            if let Err(StateError::Unavailable(error)) = self.load(scope).await {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn reach(&mut self, scope: Scope, name: &str) -> Result<(), StateError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
            return Err(StateError::InvalidName(name.to_owned()));
        }
        self.load(scope).await
    }

    /// Reads all values of the scope, once: a key's values are few. Those beyond a bound are not sent; that there
    /// is one is enough.
    async fn load(&mut self, scope: Scope) -> Result<(), StateError> {
        let key = self.known.key(scope).ok_or(StateError::NoKey)?;
        if self.known.has(scope) {
            return Ok(());
        }
        let Some(db) = &self.db else {
            self.known.load(scope, []);
            return Ok(());
        };
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
        self.known.load(scope, rows.into_iter().map(|row| (row.name, row.version, row.value)));
        Ok(())
    }

    /// Takes what the call of message `seq` relies on and has written. The next message of the key sees the writes,
    /// and reads their versions, before they are committed. Where they are not, that message is redone as well.
    pub(crate) fn take(&mut self, seq: i64, has_effects: bool) -> Taken {
        self.known.take(seq, has_effects, || fastrand::i64(1..))
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
fn stored_key(key: Vec<u8>) -> Vec<u8> {
    if key.len() <= KEY_BYTES_MAX { key } else { Sha256::digest(key).to_vec() }
}
