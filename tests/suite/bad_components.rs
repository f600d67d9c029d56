//! Files that are no handler: refused by name, whether they are checked or dropped.

use std::fs;

use mailroom_tests::{Manifest, SOON, Setup, becomes, guest, in_world};

use crate::arrange::Scripted;

#[test]
fn a_file_that_is_no_handler_is_refused_by_check_with_what_is_wrong_named() {
    in_world(Setup::default(), async |world| {
        let text = world.folder().join("text.wasm");
        fs::write(&text, "this is no component")?;
        let cases = [
            (text, "component"),
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
        world.drop_handler("no-export", "no-export", &Manifest::takes(&[&scripted.input]))?;
        world.drop_handler("loops", "loops-at-load", &Manifest::takes(&[&scripted.input]))?;
        let host = world.start_host("a")?;

        world.kafka.send(&scripted.emits("k", 1)).await?;

        becomes("the good one works", 1, SOON, async || world.db.completed().await).await?;
        let refused =
            "select name from mailroom.handler where state = 'refused' and last_error <> '' order by name";
        let expected: Vec<String> = ["loops", "no-export", "text"].map(String::from).into();
        becomes("the bad ones are listed", expected, SOON, async || world.db.column(refused).await).await?;
        host.stop().await?;
        Ok(())
    });
}
