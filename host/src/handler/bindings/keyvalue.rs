//! `wasi:keyvalue`, which `full-handler` imports, and so no part of `sql-handler`, from which the contract is bound.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "wasi:keyvalue/imports@0.2.0-draft",
    imports: { default: async | trappable },
    with: { "wasi:keyvalue/store.bucket": crate::handler::imports::keyvalue::Bucket },
});
