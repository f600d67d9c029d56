//! Small durable values, kept as JSON or as bytes.
//!
//! A write is buffered by the host: it commits with the call, and is dropped where the call does
//! not complete. A call sees its own writes and those of earlier messages of its key.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::mailroom::contract::state::{self as wire, Scope};
use crate::host;

const NAMES_PAGE: u32 = 1000;

/// The state of this handler and this message's key. Calls of one key never race for it.
#[must_use]
pub fn keyed() -> State {
    State { scope: Scope::Keyed }
}

/// The state of this handler, whatever the key. Calls may race for it: one that loses is run again
/// at no cost in attempts.
#[must_use]
pub fn shared() -> State {
    State { scope: Scope::Shared }
}

/// Named values of one scope, from [`keyed`] or [`shared`].
#[derive(Debug, Clone, Copy)]
pub struct State {
    scope: Scope,
}

impl State {
    /// The JSON value of `name`, or `None` where it was never set.
    ///
    /// # Errors
    /// Where the host refuses, or what is stored is not the JSON that `T` expects.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let Some(value) = self.get_bytes(name)? else { return Ok(None) };
        serde_json::from_slice(&value)
            .map(Some)
            .map_err(|source| StateError::NotJson { name: name.to_owned(), source })
    }

    /// The bytes of `name`, as they were set, or `None` where they never were.
    ///
    /// # Errors
    /// Where the host refuses.
    pub fn get_bytes(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        host::state_get(self.scope, name).map_err(|error| StateError::of(error, name))
    }

    /// Sets `name` to `value`, as JSON.
    ///
    /// # Errors
    /// Where the host refuses, or `value` cannot be written as JSON.
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let value = serde_json::to_vec(value)
            .map_err(|source| StateError::NotJson { name: name.to_owned(), source })?;
        self.set_bytes(name, &value)
    }

    /// Sets `name` to bytes that are no JSON.
    ///
    /// # Errors
    /// Where the host refuses.
    pub fn set_bytes(&self, name: &str, value: &[u8]) -> Result<(), StateError> {
        host::state_set(self.scope, name, value).map_err(|error| StateError::of(error, name))
    }

    /// Removes `name`. One that was never set is no error.
    ///
    /// # Errors
    /// Where the host refuses.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        host::state_remove(self.scope, name).map_err(|error| StateError::of(error, name))
    }

    /// All names that begin with `prefix`, in byte order, read from the host in pages. An error is the last item.
    #[must_use]
    pub fn all_names(&self, prefix: &str) -> Names {
        Names {
            state: *self,
            prefix: prefix.to_owned(),
            after: None,
            page: Vec::new().into_iter(),
            is_last: false,
        }
    }

    /// One page of names that begin with `prefix`, in byte order, at most `limit`. For the next page give the
    /// last name as `after`.
    ///
    /// # Errors
    /// Where the host refuses.
    pub fn names(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StateError> {
        host::state_names(self.scope, prefix, after, limit).map_err(|error| StateError::of(error, prefix))
    }
}

/// Names from [`State::all_names`].
#[derive(Debug)]
pub struct Names {
    state: State,
    prefix: String,
    after: Option<String>,
    page: std::vec::IntoIter<String>,
    is_last: bool,
}

impl Iterator for Names {
    type Item = Result<String, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.is_last {
            let page = self.state.names(&self.prefix, self.after.as_deref(), NAMES_PAGE);
            // After an error too, or each further step would give it again.
            let is_full = page.as_ref().is_ok_and(|names| names.len() >= NAMES_PAGE as usize);
            self.is_last = !is_full;
            match page {
                Ok(names) => self.page = names.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
        let name = self.page.next()?;
        self.after = Some(name.clone());
        Some(Ok(name))
    }
}

/// Reason why state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The manifest does not grant state.
    #[error("this handler may not use state: say `state = true` under `[grants]` in its manifest")]
    NotGranted,
    /// Keyed state was asked for, and the message has no key.
    #[error(
        "`{name}` is keyed state, and this message has no key: use `state::shared()` or produce with a key"
    )]
    NoKey {
        /// The name asked for.
        name: String,
    },
    /// The name cannot be stored.
    #[error("`{name}` cannot be a name in state: {reason}")]
    InvalidName {
        /// The name asked for.
        name: String,
        /// Description of what is wrong, in the host's words.
        reason: String,
    },
    /// The value is larger than the host allows.
    #[error("the value of `{name}` is larger than the {limit} bytes that are allowed")]
    TooLarge {
        /// The name asked for.
        name: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The call has touched as many names as it may.
    #[error("`{name}` is one more than the {limit} names that are allowed")]
    TooMany {
        /// The name asked for.
        name: String,
        /// Number of names that are allowed.
        limit: u32,
    },
    /// The value is not the JSON that the handler's type expects, or cannot be written as JSON.
    #[error("the value of `{name}` is not the JSON that this handler expects")]
    NotJson {
        /// The name asked for.
        name: String,
        /// Error of the decoding.
        source: serde_json::Error,
    },
}

impl StateError {
    fn of(error: wire::StateError, name: &str) -> Self {
        let name = name.to_owned();
        match error {
            wire::StateError::NotGranted => Self::NotGranted,
            wire::StateError::NoKey => Self::NoKey { name },
            wire::StateError::InvalidName(reason) => Self::InvalidName { name, reason },
            wire::StateError::TooLarge(limit) => Self::TooLarge { name, limit },
            wire::StateError::TooMany(limit) => Self::TooMany { name, limit },
        }
    }
}
