//! `wasi:config/store`: the values that the manifest grants.

use crate::handler::bindings::config::wasi::config::store::{self, Error};
use crate::handler::guest::Guest;

impl store::Host for Guest {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        Ok(self.effects.config(&key).map(Some).map_err(Error::Upstream))
    }

    async fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        Ok(self.effects.all_config().map_err(Error::Upstream))
    }
}
