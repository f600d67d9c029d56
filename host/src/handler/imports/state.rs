//! `state`: read from Postgres on demand, written to the call's own view.

use super::{Effects, Phase, length, waited};
use crate::handler::bindings::mailroom::contract::state::{self, StateError};
use crate::handler::fault::HostUnavailable;
use crate::handler::guest::Guest;
use crate::settle::{Scope, StateError as ViewError, StateView};

/// Names that one call of `names` gives.
const NAMES_MAX: usize = 1000;

type Answer<T> = wasmtime::Result<Result<T, StateError>>;

impl state::Host for Guest {
    async fn get(&mut self, scope: state::Scope, name: String) -> Answer<Option<Vec<u8>>> {
        let Some(effects) = granted(self) else { return Ok(Err(StateError::NotGranted)) };
        let deadline = effects.deadline;
        answer(waited(deadline, effects.state.get(to_host(scope), &name)).await?)
    }

    async fn set(&mut self, scope: state::Scope, name: String, value: Vec<u8>) -> Answer<()> {
        let Some(effects) = granted(self) else { return Ok(Err(StateError::NotGranted)) };
        effects.put(to_host(scope), name, Some(value)).await
    }

    async fn remove(&mut self, scope: state::Scope, name: String) -> Answer<()> {
        let Some(effects) = granted(self) else { return Ok(Err(StateError::NotGranted)) };
        let (scope, deadline) = (to_host(scope), effects.deadline);
        match waited(deadline, effects.state.get(scope, &name)).await? {
            Ok(None) => Ok(Ok(())),
            Ok(Some(_)) => effects.put(scope, name, None).await,
            Err(error) => answer(Err(error)),
        }
    }

    async fn names(
        &mut self,
        scope: state::Scope,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Answer<Vec<String>> {
        let Some(effects) = granted(self) else { return Ok(Err(StateError::NotGranted)) };
        let limit = usize::try_from(limit).unwrap_or(NAMES_MAX).min(NAMES_MAX);
        let deadline = effects.deadline;
        let names = effects.state.names(to_host(scope), &prefix, after.as_deref(), limit);
        answer(waited(deadline, names).await?)
    }
}

impl Effects {
    /// What replaces a value of this same call takes its place in the limits, too.
    async fn put(&mut self, scope: Scope, name: String, value: Option<Vec<u8>>) -> Answer<()> {
        let limits = &self.manifest.limits;
        let size = length(name.len() + value.as_ref().map_or(0, Vec::len));
        let replaced = self.written.get(&(scope, name.clone())).copied();
        if replaced.is_none() && self.is_full() {
            return Ok(Err(StateError::TooMany(limits.effects)));
        }
        let Some(bytes) = self.bytes_with(size, replaced.unwrap_or_default()) else {
            return Ok(Err(StateError::TooLarge(limits.output_bytes)));
        };
        self.before.get_or_insert_with(|| StateView::clone(&self.state));
        let put = waited(self.deadline, self.state.put(scope, &name, value)).await?;
        if put.is_ok() {
            self.written.insert((scope, name), size);
            self.bytes = bytes;
        }
        answer(put)
    }
}

fn granted(guest: &mut Guest) -> Option<&mut Effects> {
    let effects = &mut guest.effects;
    (effects.phase == Phase::Handling && effects.manifest.grants.state).then_some(effects)
}

fn to_host(scope: state::Scope) -> Scope {
    match scope {
        state::Scope::Keyed => Scope::Keyed,
        state::Scope::Shared => Scope::Shared,
    }
}

fn answer<T>(given: Result<T, ViewError>) -> Answer<T> {
    match given {
        Ok(value) => Ok(Ok(value)),
        Err(ViewError::NoKey) => Ok(Err(StateError::NoKey)),
        Err(error @ ViewError::InvalidName(_)) => Ok(Err(StateError::InvalidName(error.to_string()))),
        Err(ViewError::Unavailable(error)) => Err(HostUnavailable(error.to_string()).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;
    use uuid::Uuid;

    use super::*;
    use crate::config::{Config, Manifest, Servers};

    fn effects(limits: &str, state: StateView) -> Effects {
        let config = Config::load_with(None, std::iter::empty(), Servers::Unneeded).unwrap().0;
        let manifest = Manifest::parse(&format!("[limits]\n{limits}"), &config).unwrap();
        Effects::new(Arc::new(manifest), Uuid::now_v7(), Instant::now() + Duration::from_secs(10), state)
    }

    fn nothing() -> StateView {
        StateView::new(None, "g".into(), None)
    }

    async fn put(effects: &mut Effects, name: &str, bytes: usize) -> Result<(), StateError> {
        effects.put(Scope::Shared, name.to_owned(), Some(vec![0; bytes])).await.unwrap()
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
