//! The contract in Rust. The largest world is generated once: a component that imports less of it
//! instantiates just as well, and nothing here grants anything.

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
