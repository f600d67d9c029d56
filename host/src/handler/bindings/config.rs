//! `wasi:config`, which `full-handler` imports, and so no part of `sql-handler`, from which the contract is bound.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "wasi:config/imports@0.2.0-rc.1",
    imports: { default: async | trappable },
});
