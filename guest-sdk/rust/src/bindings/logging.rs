//! `wasi:logging/logging`, generated apart: only handlers that use it import it.

wit_bindgen::generate!({
    path: "wit",
    world: "wasi:logging/imports@0.1.0-draft",
    generate_all,
});
