//! `wasmcloud:messaging`, by which components that people already have take messages.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "wasmcloud:messaging/messages@0.2.0",
    imports: { default: async | trappable },
    exports: { default: async },
});
