//! `wasi:logging`, which is no part of the contract's worlds.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "wasi:logging/imports@0.1.0-draft",
    imports: { default: async | trappable },
});
