//! `script`: the text that the component interprets.

use crate::handler::bindings::script::mailroom::contract::script;
use crate::handler::guest::Guest;
use crate::handler::script::Script;

/// Ends a component that asks for a script and is none's.
#[derive(Debug, thiserror::Error)]
#[error("it asks for the text of a script, and its file is a component")]
struct NoScript;

impl Guest {
    fn script(&self) -> wasmtime::Result<&Script> {
        Ok(self.script.as_deref().ok_or(NoScript)?)
    }
}

impl script::Host for Guest {
    async fn name(&mut self) -> wasmtime::Result<String> {
        Ok(self.script()?.file.clone())
    }

    async fn source(&mut self) -> wasmtime::Result<String> {
        Ok(self.script()?.source.clone())
    }
}
