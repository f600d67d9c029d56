//! `wasi:keyvalue`: state under another name.

use wasmtime::component::Resource;
use wasmtime_wasi::WasiView as _;

use crate::handler::bindings::keyvalue::wasi::keyvalue::store::{self, Error, KeyResponse};
use crate::handler::bindings::keyvalue::wasi::keyvalue::{atomics, batch};
use crate::handler::effects::{StateError, StoreError};
use crate::handler::fault::HostUnavailable;
use crate::handler::guest::Guest;
use crate::settle::Scope;

type Answer<T> = wasmtime::Result<Result<T, Error>>;

/// An open store. It is a name and nothing else: where an instance keeps it for its next call, it is the state of
/// that call's key.
#[expect(unreachable_pub, reason = "generated code gives it out again as `pub`")]
pub struct Bucket(Scope);

impl Guest {
    fn scope(&mut self, bucket: &Resource<Bucket>) -> wasmtime::Result<Scope> {
        Ok(self.ctx().table.get(bucket)?.0)
    }
}

impl store::Host for Guest {
    async fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
        match self.effects.open_store(&identifier) {
            Ok(scope) => Ok(Ok(self.ctx().table.push(Bucket(scope))?)),
            Err(error) => answer(Err(error)),
        }
    }
}

impl store::HostBucket for Guest {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let scope = self.scope(&bucket)?;
        answer(self.effects.get(scope, &key).await)
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        let scope = self.scope(&bucket)?;
        answer(self.effects.set(scope, &key, value).await)
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        let scope = self.scope(&bucket)?;
        answer(self.effects.remove(scope, &key).await)
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        let scope = self.scope(&bucket)?;
        answer(self.effects.get(scope, &key).await.map(|value| value.is_some()))
    }

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Answer<KeyResponse> {
        let scope = self.scope(&bucket)?;
        let page = self.effects.page_of_names(scope, cursor).await;
        answer(page.map(|(keys, cursor)| KeyResponse { keys, cursor }))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.ctx().table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Guest {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Answer<u64> {
        let scope = self.scope(&bucket)?;
        answer(self.effects.increment(scope, &key, delta).await)
    }
}

impl batch::Host for Guest {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        let scope = self.scope(&bucket)?;
        answer(self.effects.get_many(scope, keys).await)
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, key_values: Vec<(String, Vec<u8>)>) -> Answer<()> {
        let scope = self.scope(&bucket)?;
        answer(self.effects.set_many(scope, key_values).await)
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        let scope = self.scope(&bucket)?;
        answer(self.effects.remove_many(scope, keys).await)
    }
}

fn answer<T>(given: Result<T, impl Into<StoreError>>) -> Answer<T> {
    match given.map_err(Into::into) {
        Ok(value) => Ok(Ok(value)),
        Err(StoreError::Unknown) => Ok(Err(Error::NoSuchStore)),
        Err(StoreError::State(StateError::NotGranted)) => Ok(Err(Error::AccessDenied)),
        Err(StoreError::State(StateError::Unavailable(why))) => Err(HostUnavailable(why).into()),
        Err(
            error @ (StoreError::State(
                StateError::NoKey
                | StateError::InvalidName(_)
                | StateError::TooLarge(_)
                | StateError::TooMany(_)
                | StateError::TooManyToLoad(_)
                | StateError::TooLargeToLoad(_),
            )
            | StoreError::NoNumber(_)
            | StoreError::TooHigh(_)
            | StoreError::TooLarge(_)
            | StoreError::UnknownCursor(_)),
        ) => Ok(Err(Error::Other(error.to_string()))),
    }
}
