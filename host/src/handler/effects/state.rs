//! State: read from Postgres on demand, written to the call's own view.

use std::sync::Arc;

use super::{Asked, Effects, Phase, length, refused, waited};
use crate::settle::{Scope, StateError as ViewError, StateView};

/// Names that are given at once.
const NAMES_MAX: usize = 1000;

/// Reason why state could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The manifest does not grant state.
    #[error("the handler may not use state; add it to its manifest: grants.state = true")]
    NotGranted,
    /// Keyed state, and the message has no key.
    #[error("the message has no key, so it has no keyed state")]
    NoKey,
    /// The name is wrong, in the way that the text says.
    #[error("{0}")]
    InvalidName(String),
    /// All effects of the call would be larger than so many bytes.
    #[error("the call's effects may have {0} bytes in all")]
    TooLarge(u64),
    /// The call has as many effects as it may.
    #[error("a call may have {0} effects")]
    TooMany(u32),
    /// The scope has more values than a call may load.
    #[error("a call may load {0} values of a scope; raise limits.state-values, or keep fewer")]
    TooManyToLoad(u32),
    /// The scope has more bytes than a call may load.
    #[error("a call may load {0} bytes of a scope; raise limits.state-bytes, or keep less")]
    TooLargeToLoad(u64),
    /// Postgres is away. The call does not count, whatever it ends with.
    #[error("{0}")]
    Unavailable(String),
}

impl Effects {
    /// The value of that name, as this key's earlier messages and this call left it.
    pub(in crate::handler) async fn get(
        &mut self,
        scope: Scope,
        name: &str,
    ) -> Result<Option<Vec<u8>>, StateError> {
        let read = self.read(scope, name).await;
        self.write_down("read", scope, name, &read, |value| Asked::Read {
            scope,
            name: name.to_owned(),
            value: value.clone(),
        });
        read
    }

    /// Sets the value of that name.
    pub(in crate::handler) async fn set(
        &mut self,
        scope: Scope,
        name: &str,
        value: Vec<u8>,
    ) -> Result<(), StateError> {
        let written = self.journal.is_some().then(|| value.clone());
        let put = self.put(scope, name, Some(value)).await;
        self.write_down("write", scope, name, &put, |()| Asked::Written {
            scope,
            name: name.to_owned(),
            value: written,
        });
        put
    }

    /// Removes the value; none is no error.
    pub(in crate::handler) async fn remove(&mut self, scope: Scope, name: &str) -> Result<(), StateError> {
        let removed = match self.read(scope, name).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => self.put(scope, name, None).await,
            Err(error) => Err(error),
        };
        self.write_down("remove", scope, name, &removed, |()| Asked::Written {
            scope,
            name: name.to_owned(),
            value: None,
        });
        removed
    }

    /// Names with `prefix` in byte order after `after`, at most `limit` and at most a thousand.
    pub(in crate::handler) async fn names(
        &mut self,
        scope: Scope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StateError> {
        let names = self.list(scope, prefix, after, limit).await;
        self.write_down("list", scope, prefix, &names, |names| Asked::Listed {
            scope,
            prefix: prefix.to_owned(),
            names: names.clone(),
        });
        names
    }

    async fn read(&mut self, scope: Scope, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.granted()?;
        let answer = answer(waited(self.deadline, self.state.get(scope, name)).await);
        self.noted(answer)
    }

    async fn list(
        &mut self,
        scope: Scope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StateError> {
        self.granted()?;
        let limit = usize::try_from(limit).unwrap_or(NAMES_MAX).min(NAMES_MAX);
        let answer = answer(waited(self.deadline, self.state.names(scope, prefix, after, limit)).await);
        self.noted(answer)
    }

    fn noted<T>(&mut self, answer: Result<T, StateError>) -> Result<T, StateError> {
        match &answer {
            Err(StateError::TooManyToLoad(most)) => {
                self.refuse(|| format!("to load its state, limits.state-values = {most}"));
            }
            Err(StateError::TooLargeToLoad(most)) => {
                self.refuse(|| format!("to load its state, limits.state-bytes = {most}"));
            }
            Ok(_) | Err(_) => {}
        }
        answer
    }

    fn write_down<T>(
        &mut self,
        verb: &str,
        scope: Scope,
        name: &str,
        answer: &Result<T, StateError>,
        given: impl FnOnce(&T) -> Asked,
    ) {
        self.note(|| match answer {
            Ok(answer) => given(answer),
            Err(error) => {
                let grant = matches!(error, StateError::NotGranted).then_some("grants.state");
                refused(format!("{verb} {} state {name}", scope.as_str()), grant, error)
            }
        });
    }

    pub(super) fn granted(&self) -> Result<(), StateError> {
        let granted = self.phase == Phase::Handling && self.manifest.grants.state;
        granted.then_some(()).ok_or(StateError::NotGranted)
    }

    /// Writes a value; one that replaces a value of this same call takes its place in the limits, too.
    async fn put(&mut self, scope: Scope, name: &str, value: Option<Vec<u8>>) -> Result<(), StateError> {
        self.granted()?;
        let manifest = Arc::clone(&self.manifest);
        let limits = &manifest.limits;
        let size = length(name.len() + value.as_ref().map_or(0, Vec::len));
        let replaced = self.written.get(&(scope, name.to_owned())).copied();
        if replaced.is_none() && self.is_full() {
            return Err(StateError::TooMany(limits.effects));
        }
        let Some(bytes) = self.bytes_with(size, replaced.unwrap_or_default()) else {
            return Err(StateError::TooLarge(limits.output_bytes));
        };
        self.before.get_or_insert_with(|| StateView::clone(&self.state));
        let put = answer(waited(self.deadline, self.state.put(scope, name, value)).await);
        let put = self.noted(put);
        if put.is_ok() {
            self.written.insert((scope, name.to_owned()), size);
            self.bytes = bytes;
        }
        put
    }
}

fn answer<T>(given: Result<Result<T, ViewError>, String>) -> Result<T, StateError> {
    match given {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ViewError::NoKey)) => Err(StateError::NoKey),
        Ok(Err(ViewError::TooMany(most))) => Err(StateError::TooManyToLoad(most)),
        Ok(Err(ViewError::TooLarge(most))) => Err(StateError::TooLargeToLoad(most)),
        Ok(Err(error @ ViewError::InvalidName(_))) => Err(StateError::InvalidName(error.to_string())),
        Ok(Err(ViewError::Unavailable(error))) => Err(StateError::Unavailable(error.to_string())),
        Err(slow) => Err(StateError::Unavailable(slow)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use uuid::Uuid;

    use super::*;
    use crate::config::{Config, Manifest, Servers};

    fn effects(limits: &str, state: StateView) -> Effects {
        let config = Config::load_with(None, std::iter::empty(), Servers::Unneeded).unwrap().0;
        let manifest =
            Manifest::parse(&format!("[grants]\nstate = true\n[limits]\n{limits}"), &config).unwrap();
        Effects::new(Arc::new(manifest), Uuid::now_v7(), Instant::now() + Duration::from_secs(10), state)
    }

    fn nothing() -> StateView {
        StateView::new(None, "g".into(), None)
    }

    async fn put(effects: &mut Effects, name: &str, bytes: usize) -> Result<(), StateError> {
        effects.set(Scope::Shared, name, vec![0; bytes]).await
    }

    #[tokio::test]
    async fn a_value_written_again_counts_once() {
        let mut effects = effects("effects = 2\noutput-bytes = 100", nothing());
        for _ in 0..10 {
            put(&mut effects, "a", 60).await.unwrap();
        }
        assert!(matches!(put(&mut effects, "b", 60).await, Err(StateError::TooLarge(100))));
        put(&mut effects, "b", 10).await.unwrap();
        assert!(matches!(put(&mut effects, "c", 1).await, Err(StateError::TooMany(2))));
        put(&mut effects, "a", 1).await.unwrap();
    }

    #[tokio::test]
    async fn what_earlier_messages_wrote_does_not_count() {
        let mut earlier = nothing();
        earlier.put(Scope::Shared, "a", Some(vec![0; 90])).await.unwrap();
        let mut effects = effects("effects = 1\noutput-bytes = 100", earlier);
        put(&mut effects, "b", 90).await.unwrap();
        let mut given_back = effects.discard();
        assert_eq!(given_back.get(Scope::Shared, "a").await.unwrap(), Some(vec![0; 90]));
        assert_eq!(given_back.get(Scope::Shared, "b").await.unwrap(), None);
    }
}
