//! The same records again: duplicates are dropped, whatever brought them back.

use anyhow::Result;
use mailroom_tests::{Host, Message, SOON, Setup, World, becomes, in_world};

use crate::arrange::Scripted;

const MESSAGES: i64 = 20;

/// Sends messages and waits until all have been emitted.
async fn handled_once(world: &World) -> Result<(Scripted, Host)> {
    let scripted = Scripted::drop_into(world, 2).await?;
    let host = world.start_host("a")?;
    let messages: Vec<Message> = (0..MESSAGES).map(|n| scripted.emits(&format!("k{n}"), n)).collect();
    world.kafka.send_all(&messages).await?;
    all_emitted(world, &scripted, MESSAGES).await?;
    Ok((scripted, host))
}

async fn all_emitted(world: &World, scripted: &Scripted, messages: i64) -> Result<()> {
    let emitted = async || Ok(i64::try_from(world.kafka.read_all(&scripted.output).await?.len())?);
    becomes("every message emitted once", messages, SOON, emitted).await?;
    becomes("every message completed", messages, SOON, async || world.db.completed().await).await
}

/// Sends one more message per partition behind whatever comes again, and waits for it: the host is through
/// then.
async fn another(world: &World, scripted: &Scripted) -> Result<()> {
    for key in ["k0", "k1", "k2", "k3", "k4", "k5"] {
        world.kafka.send(&scripted.emits(key, 100)).await?;
    }
    all_emitted(world, scripted, MESSAGES + 6).await
}

#[test]
fn a_message_is_handled_once_though_kafka_forgets_the_groups_offsets() {
    in_world(Setup::default(), async |world| {
        let (scripted, host) = handled_once(world).await?;
        let stopped = host.stop().await?;

        world.kafka.delete_group(&world.group("scripted")).await?;
        let host = stopped.restart()?;

        another(world, &scripted).await?;
        let query = "select sum(deliveries)::bigint from mailroom.inbox";
        assert_eq!(world.db.one::<i64>(query).await?, MESSAGES + 6, "nothing was started twice");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_message_is_handled_once_though_the_topic_is_redelivered_from_its_start() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 2).await?;
        let host = world.start_host("a")?;
        let message = |n: i64| scripted.emits(&format!("k{n}"), n).id(&format!("m-{n}"));
        let messages: Vec<Message> = (0..MESSAGES).map(message).collect();
        world.kafka.send_all(&messages).await?;
        all_emitted(world, &scripted, MESSAGES).await?;
        let stopped = host.stop().await?;

        world.db.execute("update mailroom.partition_offset set next_offset = 0").await?;
        let host = stopped.restart()?;

        another(world, &scripted).await?;
        assert_eq!(world.db.one::<i64>("select count(*) from mailroom.inbox").await?, MESSAGES + 6);
        assert_eq!(world.db.one::<i64>("select count(*) from mailroom.outbox").await?, MESSAGES + 6);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_record_without_an_id_is_known_again_by_its_place_in_the_log() {
    in_world(Setup::default(), async |world| {
        let (scripted, host) = handled_once(world).await?;
        let stopped = host.stop().await?;

        world.db.execute("update mailroom.partition_offset set next_offset = 0").await?;
        let host = stopped.restart()?;

        another(world, &scripted).await?;
        assert_eq!(world.db.one::<i64>("select count(*) from mailroom.inbox").await?, MESSAGES + 6);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_producers_duplicate_makes_one_row() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;

        for (id, value) in [("m-1", 1), ("m-1", 1), ("m-2", 2)] {
            world.kafka.send(&scripted.emits("k", value).id(id)).await?;
        }

        all_emitted(world, &scripted, 2).await?;
        assert_eq!(world.db.one::<i64>("select count(*) from mailroom.inbox").await?, 2);
        host.stop().await?;
        Ok(())
    });
}
