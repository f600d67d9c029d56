//! Files that are no handler: refused by name, whether they are checked or dropped.

use std::fs;

use anyhow::Result;
use mailroom_tests::wat::Core;
use mailroom_tests::{Manifest, SOON, Setup, becomes, guest, in_world};

use crate::arrange::Scripted;

/// A component that defines one function, `canon task.return`, which WASI 0.3 brought.
const TASK_RETURN: &[u8] = b"\0asm\x0d\0\x01\0\x08\x05\x01\x09\x01\0\0";

#[test]
fn a_file_that_is_no_handler_is_refused_by_check_with_what_is_wrong_named() {
    in_world(Setup::default(), async |world| {
        let written = |name: &str, bytes: &[u8]| -> Result<_> {
            let path = world.folder().join(name);
            fs::write(&path, bytes)?;
            Ok(path)
        };
        let text = written("text.wasm", b"this is no component")?;
        let module = written("module.wasm", b"\0asm\x01\0\0\0")?;
        let newer = Core { contract: "0.2.0", ..Core::default() }.component()?;
        let newer = written("newer.wasm", &newer)?;
        let current = written("current.wasm", &Core::default().component()?)?;
        let asynchronous = written("asynchronous.wasm", TASK_RETURN)?;
        let cases = [
            (asynchronous, "WASI 0.2; build it without: componentize-qjs with --sync"),
            (text, "something else than WebAssembly"),
            (module, "a core WebAssembly module, not a WebAssembly component; build it for the target"),
            (
                newer,
                "it exports mailroom:contract/handler@0.2.0, and this host knows mailroom:contract/handler@0.1.0",
            ),
            (current, "it subscribes to no topic"),
            (guest("no-export")?, "mailroom:contract/handler"),
            (guest("unknown-import")?, "stranger:"),
            (guest("panics-at-load")?, "panics at load"),
        ];

        for (file, named) in cases {
            let ran = world.mailroom(&["handler", "check", &file.to_string_lossy()]).await?;
            ran.refused(1, &[named])?;
        }
        let absent = world.mailroom(&["handler", "check", "absent.wasm"]).await?;
        absent.refused(3, &["absent.wasm"])?;
        Ok(())
    });
}

#[test]
fn a_good_handler_passes_the_check() {
    in_world(Setup::default(), async |world| {
        let file = guest("scripted")?;
        world.mailroom(&["handler", "check", &file.to_string_lossy()]).await?.ok()?;
        Ok(())
    });
}

#[test]
fn dropped_files_that_are_no_handler_are_listed_with_the_reason_and_the_others_run() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        world.drop_component("text", b"this is no component")?;
        world.drop_component("module", b"\0asm\x01\0\0\0")?;
        let newer = Core { contract: "0.2.0", ..Core::default() };
        world.drop_component("newer", &newer.component()?)?;
        world.drop_handler("no-export", "no-export", &Manifest::takes(&[&scripted.input]))?;
        world.drop_handler("loops", "loops-at-load", &Manifest::takes(&[&scripted.input]))?;
        let host = world.start_host("a")?;

        world.kafka.send(&scripted.emits("k", 1)).await?;

        becomes("the good one works", 1, SOON, async || world.db.completed().await).await?;
        let refused =
            "select name from mailroom.handler where state = 'refused' and last_error <> '' order by name";
        let expected: Vec<String> =
            ["loops", "module", "newer", "no-export", "text"].map(String::from).into();
        becomes("the bad ones are listed", expected, SOON, async || world.db.column(refused).await).await?;
        host.stop().await?;
        Ok(())
    });
}
