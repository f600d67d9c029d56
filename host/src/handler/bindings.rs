//! The contract in Rust, generated once from the world `sql-handler`: a component that imports less of it instantiates
//! just as well. What `full-handler` and `script-handler` import beyond it is bound below, but for HTTP, which
//! `wasmtime-wasi-http` binds. Nothing here grants anything.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "sql-handler",
    imports: { default: async | trappable },
    exports: { default: async },
});

pub(super) mod config;
pub(super) mod keyvalue;
pub(super) mod logging;
pub(super) mod messaging;
pub(super) mod script;
pub(super) mod wasmcloud;
