//! `ack = "at-most-once"`: a message is handed over once, and a call that ended is settled as it ended.

use std::time::Duration;

use anyhow::Result;
use mailroom_tests::{
    Host, LATER, Manifest, Message, Proxy, SOON, Setup, World, becomes, eventually, in_world, passes,
};
use serde_json::json;

use crate::arrange::Scripted;

async fn scripted_once(world: &World, partitions: i32) -> Result<Scripted> {
    let scripted = Scripted::drop_into(world, partitions).await?;
    let manifest = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]);
    let manifest = manifest.with("ack = \"at-most-once\"").with("behind-dead = \"block\"");
    world.drop_handler("scripted", "scripted", &manifest)?;
    Ok(scripted)
}

const MESSAGES: i64 = 100;
const ENDED: &str = "select count(*) from mailroom.inbox where status <> 'pending'";
/// Messages whose call did not count as it ended.
const LOST: &str = "select count(*) from mailroom.inbox where outcome is distinct from 'completed'";

/// One message of each of many keys, which emits one.
fn many(scripted: &Scripted, shared: bool) -> Vec<Message> {
    let says = |value: i64| {
        let script = json!({"topic": scripted.output, "value": value, "add": 1, "shared": shared});
        scripted.says(&format!("k{value}"), &script)
    };
    (0..MESSAGES).map(says).collect()
}

#[test]
fn calls_that_ended_are_settled_as_they_ended_though_all_of_them_wrote_one_value() {
    in_world(Setup::default(), async |world| {
        let scripted = scripted_once(world, 4).await?;
        let host = world.start_host("a")?;
        world.kafka.send_all(&many(&scripted, true)).await?;

        becomes("all have ended", MESSAGES, SOON, async || world.db.one::<i64>(ENDED).await).await?;
        assert_eq!(world.db.one::<i64>(LOST).await?, 0, "each counts as it ended");
        let emitted =
            "select count(distinct convert_from(payload, 'UTF8')::jsonb->>'value') from mailroom.outbox";
        assert_eq!(world.db.one::<i64>(emitted).await?, MESSAGES);
        assert_eq!(
            world.db.one::<i64>("select count(*) from mailroom.state").await?,
            1,
            "the last one stands"
        );
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn an_outage_of_postgres_before_a_message_is_handed_over_costs_nothing() {
    in_world(Setup::default(), async |world| {
        let scripted = scripted_once(world, 4).await?;
        let proxy = Proxy::of_postgres(&world.db.address()).await?;
        let host: Host = world.start_host_behind("a", &proxy)?;
        world.kafka.send(&scripted.says("warm", &json!({}))).await?;
        becomes("the handler runs", 1, SOON, async || world.db.completed().await).await?;

        world.kafka.send_all(&many(&scripted, false)).await?;
        for _ in 0..15 {
            proxy.cut();
            passes(Duration::from_millis(150)).await;
        }

        becomes("all have ended", MESSAGES + 1, LATER, async || world.db.one::<i64>(ENDED).await).await?;
        assert_eq!(world.db.one::<i64>(LOST).await?, 0, "each counts as it ended");
        let emitted = "select count(*) from mailroom.outbox";
        assert_eq!(world.db.one::<i64>(emitted).await?, MESSAGES, "each was handed over once");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_message_whose_end_died_with_its_host_is_a_dead_letter_and_its_key_waits_as_behind_any() {
    in_world(Setup::default(), async |world| {
        let scripted = scripted_once(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.says("k", &json!({"behave": "sleep"})).id("lost")).await?;
        let begun = "select count(*) from mailroom.inbox where message_id = 'lost' and begun";
        becomes("it is handed over", 1, SOON, async || world.db.one::<i64>(begun).await).await?;
        let host = host.kill().await?.restart()?;
        world.kafka.send_all(&[scripted.emits("k", 1), scripted.emits("other", 2)]).await?;

        let letters = "select message_id || ' ' || reason || ' ' || attempts from mailroom.dead_letter";
        becomes("its end is not known", vec!["lost interrupted 0".to_owned()], SOON, async || {
            world.db.column::<String>(letters).await
        })
        .await?;
        becomes("the other key goes on", 1, SOON, async || world.db.completed().await).await?;
        let blocked = world.mailroom(&["keys", "blocked", "--json"]).await?.json()?;
        assert_eq!(blocked[0]["key"].as_str(), Some("k"));
        world.mailroom(&["dead", "discard", "--reason", "interrupted"]).await?.ok()?;
        eventually("the key goes on", SOON, async || Ok(world.db.completed().await? == 2)).await?;
        host.stop().await?;
        Ok(())
    });
}
