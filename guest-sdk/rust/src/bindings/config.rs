//! `wasi:config/store`, generated apart: only handlers that use it import it.

wit_bindgen::generate!({
    path: "wit",
    world: "wasi:config/imports@0.2.0-rc.1",
    generate_all,
    additional_derives: [PartialEq, Eq],
});
