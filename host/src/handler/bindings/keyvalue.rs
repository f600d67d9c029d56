//! `wasi:keyvalue`, which is no part of the contract's worlds.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "wasi:keyvalue/imports@0.2.0-draft",
    imports: { default: async | trappable },
    with: { "wasi:keyvalue/store.bucket": crate::handler::imports::keyvalue::Bucket },
});
