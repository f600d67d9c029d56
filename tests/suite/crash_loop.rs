//! A message that kills the process it runs in: found by the deliveries that are lost with it.

use mailroom_tests::{Manifest, Proxy, SOON, Setup, becomes, eventually, in_world};
use serde_json::json;

use crate::arrange::Scripted;

/// The killer sleeps while the test kills the host in its place.
const PATIENT: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[("MAILROOM__HOST__EXPIRY", "6s"), ("MAILROOM__LIMITS__DEADLINE", "4s")],
};

const NEIGHBOURS: i64 = 499;
const CRASHES: &str = "select coalesce(max(crashes), 0) from mailroom.inbox where message_id = 'the-killer'";
const ALONE: &str = "select count(*) from mailroom.inbox where message_id = 'the-killer' and lone";
const STORED: &str = "select count(*) from mailroom.inbox where message_id = 'the-killer'";
/// The call alone ended at its deadline, and the next one is under way.
const AGAIN: &str = "select count(*) > 0 from mailroom.inbox
                      where attempts_made = 1 and scheduled_at < clock_timestamp() - interval '300 ms'";
/// The message was lost while it ran alone, and waits for its host to come again.
const SUSPECTED: &str = "select count(*) from mailroom.inbox where crashes = 3 and held and wakes";
const PARKED: &str = "select count(*) from mailroom.inbox where failed_reason = 'crash-loop'";

#[test]
fn a_message_that_kills_the_process_among_499_others_is_parked_alone() {
    in_world(PATIENT, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let dead = world.kafka.topic("dead", 1).await?;
        let manifest = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]);
        let manifest = manifest.with(&format!("dead-letters.topic = \"{dead}\""));
        world.drop_handler("scripted", "scripted", &manifest)?;
        let kills = json!({"behave": "sleep"});
        let mut messages = vec![scripted.says("killer", &kills).id("the-killer")];
        messages.extend((0..NEIGHBOURS).map(|value| scripted.emits(&format!("k{value}"), value)));
        world.kafka.send_all(&messages).await?;

        let mut host = world.start_host("a")?;
        becomes("the others are done", NEIGHBOURS, SOON, async || world.db.completed().await).await?;
        for lost in 1..=2 {
            host = host.kill().await?.restart()?;
            becomes("its delivery is lost", lost, SOON, async || world.db.one::<i32>(CRASHES).await).await?;
        }
        becomes("it runs alone", 1, SOON, async || world.db.one::<i64>(ALONE).await).await?;
        let host = host.kill().await?.restart()?;

        becomes("it is parked", 1, SOON, async || world.db.one::<i64>(PARKED).await).await?;
        let letters = "select message_id || ' ' || reason from mailroom.dead_letter";
        assert_eq!(world.db.column::<String>(letters).await?, ["the-killer crash-loop"]);
        becomes("its copy is out", Some("crash-loop".to_owned()), SOON, async || {
            let copies = world.kafka.read_all(&dead).await?;
            Ok(copies.iter().find_map(|copy| copy.header("dlq_reason")))
        })
        .await?;
        let blamed = "select count(*) from mailroom.inbox where message_id <> 'the-killer' and (crashes > 0 or attempts_made > 0)";
        assert_eq!(world.db.one::<i64>(blamed).await?, 0, "its neighbours are not blamed");
        world.kafka.send(&scripted.emits("killer", 1)).await?;
        eventually("the host goes on", SOON, async || Ok(world.db.completed().await? == NEIGHBOURS + 1))
            .await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn under_block_a_message_that_kills_the_process_holds_up_its_key_once_it_is_parked() {
    in_world(PATIENT, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let manifest = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]);
        world.drop_handler("scripted", "scripted", &manifest.with("behind-dead = \"block\""))?;
        let kills = scripted.says("killer", &json!({"behave": "sleep"})).id("the-killer");
        world.kafka.send_all(&[kills, scripted.emits("killer", 1)]).await?;
        let mut host = world.start_host("a")?;
        becomes("it is stored", 1, SOON, async || world.db.one::<i64>(STORED).await).await?;
        for lost in 1..=2 {
            host = host.kill().await?.restart()?;
            becomes("its delivery is lost", lost, SOON, async || world.db.one::<i32>(CRASHES).await).await?;
        }
        becomes("it runs alone", 1, SOON, async || world.db.one::<i64>(ALONE).await).await?;
        let host = host.kill().await?.restart()?;

        becomes("it is parked", 1, SOON, async || world.db.one::<i64>(PARKED).await).await?;
        world.kafka.send(&scripted.emits("other", 2)).await?;
        becomes("another key goes on", 1, SOON, async || world.db.completed().await).await?;
        let blocked = "select convert_from(key, 'UTF8') || ' ' || policy from mailroom.blocked_key";
        assert_eq!(world.db.column::<String>(blocked).await?, ["killer block"]);
        world.mailroom(&["dead", "discard", "--all"]).await?.ok()?;
        becomes("its key goes on", 2, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_message_that_ran_alone_and_came_back_is_not_blamed_for_the_next_death() {
    in_world(PATIENT, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let slow = json!({"behave": "sleep", "until_attempt": 3});
        world.kafka.send(&scripted.says("killer", &slow).id("the-killer")).await?;
        let mut host = world.start_host("a")?;
        becomes("it is stored", 1, SOON, async || world.db.one::<i64>(STORED).await).await?;
        for lost in 1..=2 {
            host = host.kill().await?.restart()?;
            becomes("its delivery is lost", lost, SOON, async || world.db.one::<i32>(CRASHES).await).await?;
        }

        becomes("it came back", true, SOON, async || world.db.one::<bool>(AGAIN).await).await?;
        let host = host.kill().await?.restart()?;

        becomes("its delivery is lost", 1, SOON, async || world.db.one::<i32>(CRASHES).await).await?;
        becomes("it is completed", 1, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_message_is_not_blamed_for_a_host_that_was_cut_off_and_comes_again() {
    in_world(PATIENT, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let slow = json!({"behave": "sleep", "until_attempt": 2});
        world.kafka.send(&scripted.says("killer", &slow).id("the-killer")).await?;
        let proxy = Proxy::of_postgres(&world.db.address()).await?;
        let mut host = world.start_host_behind("a", &proxy)?;
        becomes("it is stored", 1, SOON, async || world.db.one::<i64>(STORED).await).await?;
        for lost in 1..=2 {
            host = host.kill().await?.restart()?;
            becomes("its delivery is lost", lost, SOON, async || world.db.one::<i32>(CRASHES).await).await?;
        }
        becomes("it runs alone", 1, SOON, async || world.db.one::<i64>(ALONE).await).await?;

        proxy.silence_for_ever();
        let other = world.start_host("b")?;
        becomes("another host has its lane, and waits for proof", 1, SOON, async || {
            world.db.one::<i64>(SUSPECTED).await
        })
        .await?;
        proxy.silence();
        proxy.cut();

        host.wait_log("was taken for dead and lives").await?;
        becomes("it is done", 1, SOON, async || world.db.completed().await).await?;
        assert_eq!(world.db.one::<i64>("select count(*) from mailroom.dead_letter").await?, 0);
        host.stop().await?;
        other.stop().await?;
        Ok(())
    });
}
