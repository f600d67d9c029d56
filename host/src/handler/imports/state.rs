//! `state`, as the contract words it.

use crate::handler::bindings::mailroom::contract::state::{self, StateError};
use crate::handler::effects::StateError as Refusal;
use crate::handler::fault::HostUnavailable;
use crate::handler::guest::Guest;
use crate::settle::Scope;

type Answer<T> = wasmtime::Result<Result<T, StateError>>;

impl state::Host for Guest {
    async fn get(&mut self, scope: state::Scope, name: String) -> Answer<Option<Vec<u8>>> {
        answer(self.effects.get(to_host(scope), &name).await)
    }

    async fn set(&mut self, scope: state::Scope, name: String, value: Vec<u8>) -> Answer<()> {
        answer(self.effects.set(to_host(scope), &name, value).await)
    }

    async fn remove(&mut self, scope: state::Scope, name: String) -> Answer<()> {
        answer(self.effects.remove(to_host(scope), &name).await)
    }

    async fn names(
        &mut self,
        scope: state::Scope,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Answer<Vec<String>> {
        answer(self.effects.names(to_host(scope), &prefix, after.as_deref(), limit).await)
    }
}

fn to_host(scope: state::Scope) -> Scope {
    match scope {
        state::Scope::Keyed => Scope::Keyed,
        state::Scope::Shared => Scope::Shared,
    }
}

fn answer<T>(given: Result<T, Refusal>) -> Answer<T> {
    match given {
        Ok(value) => Ok(Ok(value)),
        Err(Refusal::NotGranted) => Ok(Err(StateError::NotGranted)),
        Err(Refusal::NoKey) => Ok(Err(StateError::NoKey)),
        Err(Refusal::InvalidName(why)) => Ok(Err(StateError::InvalidName(why))),
        Err(Refusal::TooLarge(limit) | Refusal::TooLargeToLoad(limit)) => {
            Ok(Err(StateError::TooLarge(limit)))
        }
        Err(Refusal::TooMany(limit) | Refusal::TooManyToLoad(limit)) => Ok(Err(StateError::TooMany(limit))),
        Err(Refusal::Unavailable(why)) => Err(HostUnavailable(why).into()),
    }
}
