//! Hostile before the first message: at its start, and when it is asked what it takes. The component is refused
//! with its fault, and another in its place runs.

use std::fs;

use anyhow::Result;
use futures_util::future::try_join_all;
use mailroom_tests::wat::Core;
use mailroom_tests::{Setup, guest, in_world};

use super::stage::Stage;
use super::{FUEL, SHORT};

/// One list of one subscription to one topic.
fn takes(topic: &str) -> String {
    let bytes: String = topic.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(data (i32.const 32) "\40\00\00\00\01\00\00\00")
           (data (i32.const 64) "\80\00\00\00\01\00\00\00")
           (data (i32.const 128) "\a0\00\00\00\{:02x}\00\00\00")
           (data (i32.const 160) "{bytes}")"#,
        topic.len()
    )
}

fn declares(declares: &str) -> Core<'_> {
    Core { declares, ..Core::default() }
}

fn asked(declares: &str) -> Core<'_> {
    Core { declares, subscriptions: "i32.const 32", memory_pages: 600, ..Core::default() }
}

#[test]
fn a_guest_that_does_its_worst_at_load_is_refused_by_its_fault_and_nobody_else_notices() {
    in_world(Setup::default(), async |world| {
        Stage::with(world, &[], async |stage| {
            let start = |act: &str| format!("(table $t 1 funcref) (start $act) (func $act {act})");
            let loops = start("(loop (br 0))");
            let traps = start("unreachable");
            let recurses = start("(call $act)");
            let memory =
                start("(loop (br_if 0 (i32.ne (i32.const -1) (memory.grow (i32.const 16))))) unreachable");
            let table = start(
                "(loop (br_if 0 (i32.ne (i32.const -1)
                   (table.grow $t (ref.null func) (i32.const 10000))))) unreachable",
            );
            let cases = [
                ("loops-at-start", declares(&loops).component()?, "ran past its deadline"),
                ("traps-at-start", declares(&traps).component()?, "trapped"),
                ("recurses-at-start", declares(&recurses).component()?, "overflowed its stack"),
                ("hoards-memory-at-start", declares(&memory).component()?, "bytes of memory"),
                ("hoards-tables-at-start", declares(&table).component()?, "limits.table-elements"),
                ("loops-when-asked", fs::read(guest("loops-at-load")?)?, "ran past its deadline"),
                ("panics-when-asked", fs::read(guest("panics-at-load")?)?, "this handler panics at load"),
            ];
            let refused = cases.iter().map(async |(name, component, named)| {
                let said = stage.refused(name, component, Some(&[SHORT, FUEL])).await?;
                assert!(said.contains(named), "guest {name}: {said}");
                anyhow::Ok(())
            });
            try_join_all(refused).await?;
            Ok(())
        })
        .await
    });
}

#[test]
fn a_guest_that_subscribes_to_what_there_cannot_be_is_refused_and_nobody_else_notices() {
    in_world(Setup::default(), async |world| {
        Stage::with(world, &[], async |stage| {
            // The whole cluster, as Kafka's client would have it; and what that client panics on.
            let (all, nul, nameless) = (takes("^.*"), takes("a\0b"), takes(""));
            // A million empty ones.
            let vast = r#"(data (i32.const 32) "\00\00\01\00\40\42\0f\00")"#;
            let many = r#"(data (i32.const 32) "\40\00\00\00\01\00\00\00")
                          (data (i32.const 64) "\00\00\01\00\d0\07\00\00")"#;
            let beyond = r#"(data (i32.const 32) "\ff\ff\ff\7f\01\00\00\00")"#;
            let cases = [
                ("takes-all", &*all, "names the topic \"^.*\""),
                ("takes-nul", &nul, "names the topic \"a\\0b\""),
                ("takes-nameless", &nameless, "names the topic \"\""),
                ("takes-vast", vast, "made the host copy more than"),
                ("takes-many", many, "has 2001 subscriptions, names and patterns, at most 1000 are allowed"),
                ("takes-from-beyond", beyond, "gave a bad reply"),
            ];
            let refused = cases.iter().map(async |(name, declares, named)| {
                let said = stage.refused(name, &asked(declares).component()?, None).await?;
                assert!(said.contains(named), "guest {name}: {said}");
                anyhow::Ok(())
            });
            let _: Vec<()> = try_join_all(refused).await?;
            Result::Ok(())
        })
        .await
    });
}
