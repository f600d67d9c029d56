//! `wasi:config`, which is no part of the contract's worlds.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "wasi:config/imports@0.2.0-rc.1",
    imports: { default: async | trappable },
});
