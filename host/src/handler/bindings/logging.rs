//! `wasi:logging`, which `full-handler` imports, and so no part of `sql-handler`, from which the contract is bound.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "wasi:logging/imports@0.1.0-draft",
    imports: { default: async | trappable },
});
