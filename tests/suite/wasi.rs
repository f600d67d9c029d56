//! `wasi:config` and `wasi:logging`: what an operator grants of them, and what a handler cannot do with them.

use anyhow::Result;
use mailroom_tests::{Host, Manifest, Message, SOON, Setup, World, becomes, in_world};
use serde_json::{Value, json};

use crate::arrange::Scripted;

const SECRET: &str = "hunter2-of-the-carrier";
const ENDED: &str = "select count(*) from mailroom.inbox where status <> 'pending'";

/// The scripted guest with another manifest than the usual one.
async fn drop_into(world: &World, grant: &str) -> Result<Scripted> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let manifest = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]).grants(grant);
    world.drop_handler("scripted", "scripted", &manifest)?;
    Ok(scripted)
}

fn start(world: &World) -> Result<Host> {
    world.start_host_with("a", &[("MAILROOM__HANDLER_CONFIG__API_TOKEN", SECRET)])
}

#[test]
fn a_granted_key_is_read_an_ungranted_one_is_denied_by_name_and_no_log_has_the_value() {
    in_world(Setup::default(), async |world| {
        let scripted = drop_into(world, "config = [\"API_TOKEN\"]").await?;
        let host = start(world)?;
        let reads = |key: &str| {
            let script = json!({"config": key, "topic": scripted.output});
            Message::to(&scripted.input).key(key).id(key).json(&script)
        };
        world.kafka.send_all(&[reads("API_TOKEN"), reads("OTHER")]).await?;

        becomes("both have ended", 2, SOON, async || world.db.one::<i64>(ENDED).await).await?;
        let letters: Vec<(String, String)> =
            world.db.rows("select message_id, error from mailroom.dead_letter").await?;
        let [(id, error)] = letters.as_slice() else { panic!("one is dead: {letters:?}") };
        assert_eq!(id, "OTHER");
        assert!(error.contains("add it to its manifest: grants.config = [\"OTHER\"]"), "{error}");
        let read = async || {
            let records = world.kafka.read_all(&scripted.output).await?;
            let values = records.iter().map(|record| Ok(record.json()?["config"].clone()));
            values.collect::<Result<Vec<Value>>>()
        };
        becomes("the value is emitted", vec![json!(SECRET)], SOON, read).await?;

        assert!(!host.log()?.contains(SECRET), "the value is in the log");
        host.stop().await?;
        // Where the host has no such value the manifest is refused, and says where it belongs.
        let wasm = world.folder().join("handlers/scripted.wasm");
        let checked = world.mailroom(&["handler", "check", &wasm.to_string_lossy()]).await?;
        checked.refused(1, &["grants.config = \"API_TOKEN\"", "MAILROOM__HANDLER_CONFIG__API_TOKEN"])
    });
}

#[test]
fn a_flood_of_log_lines_is_a_fault_of_its_own_and_the_neighbour_goes_on() {
    in_world(Setup::default(), async |world| {
        let scripted = drop_into(world, "log = \"info\"").await?;
        world.drop_handler("idle", "noop", &Manifest::takes(&[&scripted.input]))?;
        let host = start(world)?;
        let floods = json!({"log": [["info", "billing", "again and again"]], "log_times": 1_000_000});
        let says = json!({"log": [["warn", "billing", "one\n\u{1b}[31mline"], ["debug", "", "too much"]]});
        world
            .kafka
            .send_all(&[
                Message::to(&scripted.input).key("k").id("floods").json(&floods),
                Message::to(&scripted.input).key("l").id("says").json(&says),
            ])
            .await?;

        becomes("all have ended", 4, SOON, async || world.db.one::<i64>(ENDED).await).await?;
        let faults = "select fault || ': ' || error from mailroom.attempt order by delivery";
        let fault = "log-lines: logged more than 1000 lines, limits.log-lines";
        assert_eq!(world.db.column::<String>(faults).await?, [fault; 3]);
        let letter: Vec<(String, String, String)> =
            world.db.rows("select message_id, fault, last_output from mailroom.dead_letter").await?;
        let [(id, fault, output)] = letter.as_slice() else { panic!("one is dead: {letter:?}") };
        assert_eq!((id.as_str(), fault.as_str()), ("floods", "log-lines"));
        assert!(output.ends_with("[info] billing: again and again"), "{output}");

        let log = host.log()?;
        let line = log.lines().find(|line| line.contains("scripted: billing: one"));
        for part in ["WARN mailroom::guest", "message.id=", "billing: one\\n\\u{1b}[31mline"] {
            assert!(line.is_some_and(|line| line.contains(part)), "{line:?} should have {part}");
        }
        assert!(!log.contains("too much") && log.contains("1 log lines were dropped, grants.log = \"info\""));
        let told = log.lines().filter(|line| line.contains("again and again")).count();
        assert_eq!(told, 3000, "each of three calls had its thousand lines");
        host.stop().await?;
        Ok(())
    });
}
