//! Bindings that are generated from `wit/mailroom.wit`.
//!
//! Public only because the code that [`export!`](crate::export) puts into a handler's crate names
//! it. Authors use what the crate's root offers; nothing here is part of the SDK's interface.

wit_bindgen::generate!({
    path: "wit",
    world: "inbox-handler",
    generate_all,
    additional_derives: [PartialEq, Eq],
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "mailroom_guest::bindings",
});

pub mod config;
pub mod logging;
pub mod sql;
