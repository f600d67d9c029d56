//! `state`: read from Postgres on demand, written to the call's own view.

use super::{Effects, Phase, waited};
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
        let limits = &effects.manifest.limits;
        if effects.is_full() {
            return Ok(Err(StateError::TooMany(limits.effects)));
        }
        if effects.is_too_much(name.len() + value.len()) {
            return Ok(Err(StateError::TooLarge(limits.output_bytes)));
        }
        answer(effects.put(to_host(scope), &name, Some(value)).await?)
    }

    async fn remove(&mut self, scope: state::Scope, name: String) -> Answer<()> {
        let Some(effects) = granted(self) else { return Ok(Err(StateError::NotGranted)) };
        let (scope, deadline) = (to_host(scope), effects.deadline);
        match waited(deadline, effects.state.get(scope, &name)).await? {
            // Nothing is remembered of names that are not there: nothing bounds how many a guest removes.
            Ok(None) => Ok(Ok(())),
            Ok(Some(_)) if effects.is_full() => Ok(Err(StateError::TooMany(effects.manifest.limits.effects))),
            Ok(Some(_)) => answer(effects.put(scope, &name, None).await?),
            Err(error) => answer(Err(error)),
        }
    }

    async fn names(
        &mut self, scope: state::Scope, prefix: String, after: Option<String>, limit: u32,
    ) -> Answer<Vec<String>> {
        let Some(effects) = granted(self) else { return Ok(Err(StateError::NotGranted)) };
        let limit = usize::try_from(limit).unwrap_or(NAMES_MAX).min(NAMES_MAX);
        let deadline = effects.deadline;
        let names = effects.state.names(to_host(scope), &prefix, after.as_deref(), limit);
        answer(waited(deadline, names).await?)
    }
}

impl Effects {
    async fn put(
        &mut self, scope: Scope, name: &str, value: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<(), ViewError>> {
        self.before.get_or_insert_with(|| StateView::clone(&self.state));
        waited(self.deadline, self.state.put(scope, name, value)).await
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
        Err(ViewError::InvalidName(name)) => Ok(Err(StateError::InvalidName(name))),
        Err(ViewError::Unavailable(error)) => Err(HostUnavailable(error.to_string()).into()),
    }
}
