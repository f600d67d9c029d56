//! The text of a script, which only the component that interprets it imports.

wasmtime::component::bindgen!({
    path: "../wit",
    inline: "package mailroom:host; world scripts { import mailroom:contract/script@0.1.0; }",
    world: "mailroom:host/scripts",
    imports: { default: async | trappable },
});
