//! Fate of a key's later messages: while one waits, and once one is dead.

use std::time::Duration;

use anyhow::{Result, ensure};
use mailroom_tests::{LATER, Manifest, Message, SOON, Setup, World, becomes, eventually, in_world, passes};
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

/// Followers are sent in waves of so many, each with so many bytes of a header beside its payload.
const WAVES: i64 = 8;
const WAVE: i64 = 2_500;
const FOLLOWER_BYTES: usize = 8_192;
/// Growth of a host's memory from the first half of the waves to the second, on average: half of what the four waves
/// between them weigh. Single samples differ by as much as 40 MB, by what the allocator and the consumer hold just then.
const GROWTH_MAX: u64 = 40_000_000;

#[test]
fn twenty_thousand_followers_of_a_blocked_key_fill_no_memory_and_hold_up_no_other_key() {
    in_world(Setup::default(), async |world| {
        let scripted = scripted_with(world, "block").await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.says("k", &json!({"behave": "reject"}))).await?;
        becomes("the head is dead", (1, 0), SOON, async || ends(world).await).await?;

        let padding = vec![b'x'; FOLLOWER_BYTES];
        let mut resident = Vec::new();
        for wave in 0..WAVES {
            let mut messages = Vec::new();
            for value in wave * WAVE..(wave + 1) * WAVE {
                messages.push(scripted.emits("k", value).header("padding", &padding));
                if value % 10 == 0 {
                    messages.push(scripted.emits(&format!("other-{}", value % 300), value));
                }
            }
            world.kafka.send_all(&messages).await?;
            let others = (wave + 1) * WAVE / 10;
            becomes("the other keys of the lane are done", (1, others), LATER, async || ends(world).await)
                .await?;
            let taken = 1 + (wave + 1) * (WAVE + WAVE / 10);
            becomes("the followers are stored", taken, LATER, async || {
                world.db.one::<i64>("select next_offset from mailroom.partition_offset").await
            })
            .await?;
            resident.push(host.resident_bytes()?);
        }
        let held: i64 = world.db.one("select count(*) from mailroom.inbox where held").await?;
        ensure!(held > WAVES * WAVE * 9 / 10, "most of the followers are held, {held} of them");
        let (first, second) = resident.split_at(resident.len() / 2);
        let mean = |of: &[u64]| of.iter().sum::<u64>() / of.len().max(1) as u64;
        ensure!(mean(second) < mean(first) + GROWTH_MAX, "memory grows with the followers: {resident:?}");

        world.mailroom(&["dead", "discard", "--all"]).await?.ok()?;

        let all = WAVES * (WAVE + WAVE / 10);
        becomes("the followers are done", (1, all), 2 * LATER, async || ends(world).await).await?;
        let values = "select (convert_from(payload, 'UTF8')::jsonb->>'value')::bigint from mailroom.outbox
                       where key = 'k' order by seq";
        let in_order: Vec<i64> = (0..WAVES * WAVE).collect();
        ensure!(world.db.column::<i64>(values).await? == in_order, "the followers were not done in order");
        let cost: i64 = world.db.one("select count(*) from mailroom.inbox where attempts_made > 0").await?;
        assert_eq!(cost, 0, "to wait costs no attempt");
        host.stop().await?;
        Ok(())
    });
}

/// Sends a record that no handler can have, behind `before` and before a message of the same key.
async fn send_what_cannot_be_handled(world: &World, scripted: &Scripted, before: &[Message]) -> Result<()> {
    let manifest = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]).as_text();
    world.drop_handler("scripted", "scripted", &manifest.with("behind-dead = \"block\""))?;
    let mut messages = before.to_vec();
    messages.push(Message::to(&scripted.input).key("k").payload([0xff, 0xfe]).id("unfit"));
    messages.extend([scripted.emits("k", 1), scripted.emits("other", 9)]);
    world.kafka.send_all(&messages).await
}

#[test]
fn under_block_a_record_that_cannot_be_handled_holds_up_its_key_as_any_dead_letter() {
    in_world(Setup::default(), async |world| {
        let scripted = scripted_with(world, "block").await?;
        send_what_cannot_be_handled(world, &scripted, &[]).await?;
        let host = world.start_host("a")?;

        becomes("it is dead, the other key done", (1, 1), SOON, async || ends(world).await).await?;
        let blocked = world.mailroom(&["keys", "blocked", "--json"]).await?.json()?;
        assert_eq!((blocked[0]["key"].as_str(), blocked[0]["policy"].as_str()), (Some("k"), Some("block")));
        world.kafka.send(&scripted.emits("other", 10)).await?;
        becomes("the other key goes on", (1, 2), SOON, async || ends(world).await).await?;
        assert_eq!(emitted(world, &scripted, "k").await?, Vec::<i64>::new());

        world.mailroom(&["dead", "discard", "--all"]).await?.ok()?;
        becomes("its key goes on", vec![1], SOON, async || emitted(world, &scripted, "k").await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn what_cannot_be_handled_dies_in_its_turn_whoever_has_the_lane_then() {
    in_world(Setup::default(), async |world| {
        let scripted = scripted_with(world, "block").await?;
        let waits = json!({"behave": "retry-after", "after_ms": 6_000, "until_attempt": 2,
                           "topic": scripted.output, "value": 0});
        send_what_cannot_be_handled(world, &scripted, &[scripted.says("k", &waits)]).await?;
        let host = world.start_host("a")?;
        becomes("the other key is done", (0, 1), SOON, async || ends(world).await).await?;
        let stored = "select count(*) from mailroom.inbox";
        becomes("all are stored", 4, SOON, async || world.db.one::<i64>(stored).await).await?;
        let host = host.kill().await?.restart()?;

        becomes("it dies once the one before it is done", (1, 2), SOON, async || ends(world).await).await?;
        let letters = "select message_id || ' ' || reason || ' ' || error from mailroom.dead_letter";
        let why = "unfit quarantined the payload is not UTF-8, and the subscription asks for text";
        assert_eq!(world.db.column::<String>(letters).await?, [why]);
        let first = "select i.completed_at < d.died_at from mailroom.inbox i, mailroom.dead_letter d
                      where i.\"offset\" = 0";
        assert!(world.db.one::<bool>(first).await?, "a death does not overtake a message that waits");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_death_that_waits_to_be_settled_holds_up_its_key_though_another_letter_is_closed_meanwhile() {
    in_world(Setup::default(), async |world| {
        let scripted = scripted_with(world, "block").await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.says("e", &json!({"behave": "reject"}))).await?;
        becomes("a first message is dead", (1, 0), SOON, async || ends(world).await).await?;
        let dies = scripted.says("k", &json!({"behave": "retry-after", "after_ms": 1_500})).id("dies");
        world.kafka.send_all(&[dies, scripted.emits("k", 1)]).await?;
        let retries = "select count(*) from mailroom.inbox where message_id = 'dies' and attempts_made = 2";
        becomes("its last attempt is to come", 1, SOON, async || world.db.one::<i64>(retries).await).await?;

        let held = world.db.hold("select from mailroom.inbox where message_id = 'dies' for update").await?;
        let waits = async || world.db.waits_for_lock("-- The same as `rows.sql`").await;
        eventually("its death waits to be settled", SOON, waits).await?;
        world.mailroom(&["dead", "discard", "--reason", "rejected"]).await?.ok()?;
        // Nothing outside the host tells that it has read its lane again.
        passes(Duration::from_secs(2)).await;
        held.release().await?;

        becomes("it is dead too", 2, SOON, async || Ok(ends(world).await?.0)).await?;
        world.kafka.send(&scripted.emits("other", 2)).await?;
        becomes("another key goes on", vec![2], SOON, async || emitted(world, &scripted, "other").await)
            .await?;
        assert_eq!(emitted(world, &scripted, "k").await?, Vec::<i64>::new(), "its key waits");
        host.stop().await?;
        Ok(())
    });
}

/// Dead and completed messages.
async fn ends(world: &World) -> Result<(i64, i64)> {
    let dead = "select count(*) from mailroom.inbox where status = 'failed'";
    Ok((world.db.one(dead).await?, world.db.completed().await?))
}
