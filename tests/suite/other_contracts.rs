//! Components that were written for other hosts, from a WIT of their own: they run unmodified.

use anyhow::Result;
use mailroom_tests::{Manifest, Message, SOON, Setup, World, becomes, guest, in_world};
use serde_json::json;

const TOTAL: &str =
    "select convert_from(value, 'UTF8') from mailroom.state where scope = 'keyed' and name = 'total'";

async fn faults(world: &World) -> Result<Vec<(String, String)>> {
    world.db.rows("select distinct coalesce(fault, ''), error from mailroom.attempt order by 1, 2").await
}

#[test]
fn a_component_for_wasmcloud_handles_publishes_and_keeps_state_unmodified() {
    in_world(Setup::default(), async |world| {
        let (input, output) = (world.kafka.topic("in", 1).await?, world.kafka.topic("out", 1).await?);
        let manifest = Manifest::takes(&[&input]).publishes(&[&output]).grants("log = \"info\"");
        world.drop_handler("echo", "wasmcloud-echo", &manifest)?;
        let host = world.start_host("a")?;
        let order = |cents: i64| Message::to(&input).key("ada").json(&json!({"amount_cents": cents}));
        let answered = |cents| order(cents).header("reply-to", &output);
        world.kafka.send_all(&[answered(5), answered(7)]).await?;

        becomes("both are handled", 2, SOON, async || world.db.completed().await).await?;
        becomes("two sums are out", 2, SOON, async || Ok(world.kafka.read_all(&output).await?.len())).await?;
        let sums = world.kafka.read_all(&output).await?;
        assert_eq!(sums[1].payload.as_deref(), Some(&b"12"[..]));
        assert_eq!(sums[1].key_text(), "ada", "the key of the message that it came from");
        assert_eq!(sums[1].header("event_type"), Some(output.clone()));
        assert_eq!(world.db.one::<String>(TOTAL).await?, "12");
        host.wait_log(&format!("total 12 after {input}")).await?;

        // Where no answer is wanted it publishes to a topic that it may not.
        world.kafka.send_all(&[order(1), order(1).header("x", "y")]).await?;
        host.wait_log("grants.publish = [\"totals\"]").await?;
        assert_eq!(world.db.one::<String>(TOTAL).await?, "12", "what fails has no effects");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_component_for_wasi_messaging_sends_and_replies_with_what_it_was_told() {
    in_world(Setup::default(), async |world| {
        let (input, output) = (world.kafka.topic("in", 1).await?, world.kafka.topic("out", 1).await?);
        let manifest = Manifest::takes(&[&input]).publishes(&[&output]);
        world.drop_handler("relabel", "wasi-messages", &manifest)?;
        let host = world.start_host("a")?;
        let says = |text: &str| Message::to(&input).key("k").payload(text);
        world.kafka.send(&says(&output).header("colour", "blue")).await?;
        world.kafka.send(&says("reply").header("reply-to", &output)).await?;

        becomes("both are handled", 2, SOON, async || world.db.completed().await).await?;
        becomes("two are out", 2, SOON, async || Ok(world.kafka.read_all(&output).await?.len())).await?;
        let out = world.kafka.read_all(&output).await?;
        assert_eq!(out[0].payload.as_deref(), Some(output.to_uppercase().as_bytes()));
        assert_eq!(out[0].header("was-colour"), Some("blue".to_owned()));
        assert_eq!(out[0].header("from"), Some(input.clone()));
        assert_eq!(out[1].payload.as_deref(), Some(&b"REPLY"[..]));
        assert_eq!(out[1].key_text(), "k");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn what_mailroom_has_not_is_refused_in_words_and_what_is_hoarded_is_bounded() {
    in_world(Setup::default(), async |world| {
        let input = world.kafka.topic("in", 1).await?;
        world.drop_handler("relabel", "wasi-messages", &Manifest::takes(&[&input]))?;
        let host = world.start_host("a")?;
        for text in ["request", "reply", "elsewhere", "hoard"] {
            world.kafka.send(&Message::to(&input).key(text).payload(text)).await?;
        }

        let said = async || Ok(faults(world).await?.len());
        becomes("each has failed", 4, SOON, said).await?;
        let faults: String =
            faults(world).await?.into_iter().map(|(fault, error)| format!("{fault}: {error}\n")).collect();
        for words in [
            "mailroom has no replies to wait for",
            "the message has no header reply-to",
            "permission denied: the handler may not publish to elsewhere",
            "limits.output-bytes",
        ] {
            assert!(faults.contains(words), "{words}: {faults}");
        }
        host.kill().await?;
        Ok(())
    });
}

#[test]
fn check_says_what_such_a_component_takes_and_may_do_and_that_its_manifest_names_the_topics() {
    in_world(Setup::default(), async |world| {
        let file = guest("wasmcloud-echo")?;
        let file = file.to_string_lossy();
        let manifest = world.folder().join("echo.toml");
        std::fs::write(&manifest, Manifest::takes(&["orders"]).publishes(&["totals"]).to_toml())?;

        let shown = world
            .mailroom(&["handler", "check", &file, "--manifest", &manifest.to_string_lossy()])
            .await?
            .ok()?;
        assert!(shown.contains("wasmcloud:messaging/handler@0.2.0"), "{shown}");
        assert!(shown.contains("a subject is a Kafka topic"), "{shown}");
        assert!(shown.contains("the messages that it publishes commit"), "{shown}");

        world.mailroom(&["handler", "check", &file]).await?.refused(1, &["subscribe.topics"])
    });
}
