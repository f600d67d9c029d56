//! `wasi:messaging`, by which components that people already have take messages.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "wasi:messaging/messages@0.2.0-draft",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "wasi:messaging/types.client": crate::handler::imports::messaging::Client,
        "wasi:messaging/types.message": crate::handler::imports::messaging::HeldMessage,
        "wasi:messaging/request-reply.request-options": crate::handler::imports::messaging::RequestOptions,
    },
});
