//! What becomes of a key's later messages: while one waits, and once one is dead.

use anyhow::Result;
use mailroom_tests::{Manifest, SOON, Setup, World, becomes, eventually, in_world};
use serde_json::json;

use crate::arrange::Scripted;

async fn scripted_with(world: &World, policy: &str) -> Result<Scripted> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let manifest = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]).to_toml();
    let toml = format!("behind-dead = \"{policy}\"\n{manifest}");
    std::fs::write(world.folder().join("handlers").join("scripted.toml"), toml)?;
    Ok(scripted)
}

async fn emitted(world: &World, scripted: &Scripted, key: &str) -> Result<Vec<i64>> {
    let records = world.kafka.read_all(&scripted.output).await?;
    let of_key = records.iter().filter(|record| record.key.as_deref() == Some(key.as_bytes()));
    of_key.map(|record| record.number("value")).collect()
}

/// The first message of `k` is rejected once, and done when it is replayed; three others follow it.
async fn send_a_dead_head(world: &World, scripted: &Scripted) -> Result<()> {
    let dies = json!({"behave": "fail", "until_attempt": 4, "topic": scripted.output, "value": 0});
    let mut messages = vec![scripted.says("k", &dies)];
    messages.extend((1..=3).map(|value| scripted.emits("k", value)));
    messages.push(scripted.emits("other", 9));
    world.kafka.send_all(&messages).await
}

#[test]
fn under_block_a_keys_followers_wait_until_the_dead_letter_is_discarded_though_the_host_changes() {
    in_world(Setup::default(), async |world| {
        let scripted = scripted_with(world, "block").await?;
        let host = world.start_host("a")?;
        send_a_dead_head(world, &scripted).await?;
        becomes("the head is dead, the other key done", (1, 1), SOON, async || ends(world).await).await?;
        host.stop().await?;

        let host = world.start_host("b")?;
        world.kafka.send(&scripted.emits("other", 10)).await?;
        becomes("the other key goes on", vec![9, 10], SOON, async || {
            emitted(world, &scripted, "other").await
        })
        .await?;
        assert_eq!(ends(world).await?, (1, 2), "the followers wait, with the next host too");
        let blocked = world.mailroom(&["keys", "blocked", "--json"]).await?.json()?;
        assert_eq!((blocked[0]["key"].as_str(), blocked[0]["policy"].as_str()), (Some("k"), Some("block")));
        world.mailroom(&["dead", "discard", "--all"]).await?.ok()?;

        becomes("they go on in order", vec![1, 2, 3], SOON, async || emitted(world, &scripted, "k").await)
            .await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn under_park_followers_become_dead_letters_and_a_replay_of_all_keeps_their_order() {
    in_world(Setup::default(), async |world| {
        let scripted = scripted_with(world, "park").await?;
        let host = world.start_host("a")?;
        let rejects = json!({"behave": "reject"});
        let mut messages = vec![scripted.says("k", &rejects)];
        messages.extend((1..=3).map(|value| scripted.emits("k", value)));
        world.kafka.send_all(&messages).await?;
        let parked = "select count(*) from mailroom.dead_letter where reason = 'parked'";
        becomes("they are parked", 3, SOON, async || world.db.one::<i64>(parked).await).await?;

        world.mailroom(&["dead", "discard", "--reason", "rejected"]).await?.ok()?;
        world.mailroom(&["dead", "replay", "--reason", "parked"]).await?.ok()?;
        world.kafka.send(&scripted.emits("k", 4)).await?;

        let in_order = vec![1, 2, 3, 4];
        becomes("they are done in order", in_order, SOON, async || emitted(world, &scripted, "k").await)
            .await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn followers_beyond_the_bound_are_held_and_done_in_order_by_whoever_has_the_lane() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let waits = json!({"behave": "retry-after", "after_ms": 8_000, "until_attempt": 2,
                           "topic": scripted.output, "value": 0});
        let mut messages = vec![scripted.says("k", &waits)];
        messages.extend((1..=1_500).map(|value| scripted.emits("k", value)));
        messages.extend((0..50).map(|value| scripted.emits("other", value)));
        world.kafka.send_all(&messages).await?;

        let held = "select count(*) from mailroom.inbox where held";
        eventually("the rest of the key is held", SOON, async || {
            Ok(world.db.one::<i64>(held).await? >= 1_000)
        })
        .await?;
        becomes("the other key is done", 50, SOON, async || world.db.completed().await).await?;
        let host = host.kill().await?.restart()?;

        let in_order: Vec<i64> = (0..=1_500).collect();
        becomes("all of the key, in order", in_order, 2 * SOON, async || {
            emitted(world, &scripted, "k").await
        })
        .await?;
        assert_eq!(world.db.one::<i64>(held).await?, 0);
        host.stop().await?;
        Ok(())
    });
}

/// Dead and completed messages.
async fn ends(world: &World) -> Result<(i64, i64)> {
    let dead = "select count(*) from mailroom.inbox where status = 'failed'";
    Ok((world.db.one(dead).await?, world.db.completed().await?))
}
