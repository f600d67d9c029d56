//! `sql`, generated apart: floats can be compared, but are no `Eq`.

wit_bindgen::generate!({
    inline: "package mailroom:guest; world sql { import mailroom:contract/sql@0.1.0; }",
    path: "wit",
    world: "mailroom:guest/sql",
    generate_all,
    additional_derives: [PartialEq],
});
