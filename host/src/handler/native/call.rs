//! Access of a native handler to its effects during a call.

use uuid::Uuid;

use super::Outgoing;
use crate::handler::effects::{Effects, PublishError, StateError};
use crate::settle::Scope;

/// One call of a handler: what it emits and stores, within its grants and limits. Nothing is written
/// before the call has completed.
pub struct Call {
    effects: Effects,
    /// Reason why the call cannot count: the host could not answer it.
    unavailable: Option<String>,
}

impl Call {
    pub(super) fn new(effects: Effects) -> Self {
        Self { effects, unavailable: None }
    }

    pub(super) fn into_parts(self) -> (Effects, Option<String>) {
        (self.effects, self.unavailable)
    }

    /// Emits a message and gives its id, which is the same whenever this message is handled again. Its
    /// correlation, causation and trace are set by the host.
    ///
    /// # Errors
    /// See [`PublishError`]; nothing was emitted then.
    pub async fn publish(&mut self, message: Outgoing) -> Result<Uuid, PublishError> {
        let published = self.effects.publish(message.0).await;
        if let Err(PublishError::Unavailable(why)) = &published {
            self.unavailable = Some(why.clone());
        }
        published
    }

    /// The state of this handler and this message's key. Calls of one key never race for it.
    pub fn keyed(&mut self) -> State<'_> {
        State { call: self, scope: Scope::Keyed }
    }

    /// The state of this handler, whatever the key. Calls may race for it: one that loses is run again at
    /// no cost in attempts.
    pub fn shared(&mut self) -> State<'_> {
        State { call: self, scope: Scope::Shared }
    }
}

/// Named values of one scope, from [`Call::keyed`] or [`Call::shared`]. A call sees its own writes and those
/// of earlier messages of its key.
#[derive(Debug)]
pub struct State<'c> {
    call: &'c mut Call,
    scope: Scope,
}

impl State<'_> {
    /// The value of `name`; `None` where there is none.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn get(&mut self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let got = self.call.effects.get(self.scope, name).await;
        self.noted(got)
    }

    /// Sets `name` to `value`.
    ///
    /// # Errors
    /// See [`StateError`]; nothing was set then.
    pub async fn set(&mut self, name: &str, value: impl Into<Vec<u8>> + Send) -> Result<(), StateError> {
        let set = self.call.effects.set(self.scope, name, value.into()).await;
        self.noted(set)
    }

    /// Removes `name`. One that was never set is no error.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn remove(&mut self, name: &str) -> Result<(), StateError> {
        let removed = self.call.effects.remove(self.scope, name).await;
        self.noted(removed)
    }

    /// Names that begin with `prefix`, in byte order, at most `limit` and at most a thousand. For the next
    /// page give the last name as `after`.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn names(
        &mut self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StateError> {
        let names = self.call.effects.names(self.scope, prefix, after, limit).await;
        self.noted(names)
    }

    fn noted<T>(&mut self, answer: Result<T, StateError>) -> Result<T, StateError> {
        if let Err(StateError::Unavailable(why)) = &answer {
            self.call.unavailable = Some(why.clone());
        }
        answer
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("unavailable", &self.unavailable).finish_non_exhaustive()
    }
}
