//! Start of a topic that was never read: resolved once, and kept whatever happens then.

use anyhow::Result;
use mailroom_tests::{LATER, Manifest, Message, SOON, Setup, World, becomes, in_world};

use crate::arrange::Scripted;

const HOUR_MS: i64 = 3_600_000;

/// The scripted guest with one more line in its manifest.
async fn scripted_with(world: &World, line: &str) -> Result<Scripted> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let manifest = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]).with(line);
    world.drop_handler("scripted", "scripted", &manifest)?;
    Ok(scripted)
}

async fn handled(world: &World) -> Result<Vec<i64>> {
    let query = "select \"offset\" from mailroom.inbox where status = 'completed' order by \"offset\"";
    world.db.column(query).await
}

#[test]
fn a_handler_that_starts_with_the_latest_misses_nothing_that_came_after_though_its_host_is_killed() {
    in_world(Setup::default(), async |world| {
        let scripted = scripted_with(world, "start = \"latest\"").await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        let host = world.start_host("a")?;
        host.wait_log("from offset 1").await?;
        host.kill().await?;
        world.kafka.send(&scripted.emits("k", 2)).await?;

        let host = world.start_host("b")?;

        becomes("what came after is handled, and only that", vec![1], SOON, async || handled(world).await)
            .await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_handler_that_starts_at_a_moment_begins_with_the_first_record_that_is_not_older() {
    in_world(Setup::default(), async |world| {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let moment = chrono::DateTime::from_timestamp_millis(now_ms - 2 * HOUR_MS).unwrap_or_default();
        let scripted = scripted_with(world, &format!("start = \"{}\"", moment.to_rfc3339())).await?;
        for (value, hours) in [(1, 4), (2, 3), (3, 2), (4, 1)] {
            world.kafka.send(&scripted.emits("k", value).at(now_ms - hours * HOUR_MS)).await?;
        }

        let host = world.start_host("a")?;

        becomes("the two that are not older", vec![2, 3], SOON, async || handled(world).await).await?;
        host.wait_log("from offset 2").await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_moment_beyond_the_newest_record_is_the_end() {
    in_world(Setup::default(), async |world| {
        let scripted = scripted_with(world, "start = 2199-01-01T00:00:00Z").await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        let host = world.start_host("a")?;
        host.wait_log("from offset 1").await?;

        world.kafka.send(&scripted.emits("k", 2)).await?;

        becomes("only what came then", vec![1], SOON, async || handled(world).await).await?;
        host.stop().await?;
        Ok(())
    });
}

/// Messages of `keys` keys, with these values.
fn by_key(scripted: &Scripted, keys: i64, value: i64) -> Vec<Message> {
    (0..keys).map(|key| scripted.emits(&format!("k{key}"), value)).collect()
}

#[test]
fn two_hosts_begin_a_topic_with_the_latest_at_the_end_of_every_partition() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 24).await?;
        let manifest = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]);
        world.kafka.send_all(&by_key(&scripted, 200, 1)).await?;
        world.drop_handler("scripted", "scripted", &manifest.with("start = \"latest\""))?;

        let (first, second) = (world.start_host("a")?, world.start_host("b")?);
        let read = "select count(*) from mailroom.partition_offset where owner is not null";
        becomes("all partitions are read", 24_i64, LATER, async || world.db.one(read).await).await?;
        world.kafka.send_all(&by_key(&scripted, 200, 2)).await?;

        becomes("what comes then is handled", 200, LATER, async || world.db.completed().await).await?;
        let rows = world.db.one::<i64>("select count(*) from mailroom.inbox").await?;
        assert_eq!(rows, 200, "nothing of what was there before is taken in");
        first.stop().await?;
        second.stop().await?;
        Ok(())
    });
}

#[test]
fn a_partition_that_is_added_to_a_topic_begins_at_its_first_record_though_the_topic_began_at_its_end() {
    in_world(Setup::default(), async |world| {
        let scripted = scripted_with(world, "start = \"latest\"").await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        let host = world.start_host("a")?;
        host.wait_log("from offset 1").await?;
        host.stop().await?;

        world.kafka.add_partitions(&scripted.input, 8).await?;
        world.kafka.send_all(&by_key(&scripted, 50, 2)).await?;
        let host = world.start_host("b")?;

        becomes("all of it is handled", 50, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_second_handler_that_claims_a_group_is_refused_by_name_and_the_first_goes_on() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("the first is completed", 1, SOON, async || world.db.completed().await).await?;

        let group = format!("group = \"{}\"", world.group("scripted"));
        world.drop_handler("second", "scripted", &Manifest::takes(&[&scripted.input]).with(&group))?;

        host.wait_log("belongs to handler scripted: give second another").await?;
        let refused =
            "select state from mailroom.handler where name = 'second' and last_error like '%scripted%'";
        becomes("the registry says so", vec!["refused".to_owned()], SOON, async || {
            world.db.column(refused).await
        })
        .await?;
        let status = world.mailroom(&["status"]).await?.ok()?;
        assert!(status.contains("refuses handler second"), "{status}");
        world.kafka.send(&scripted.emits("k", 2)).await?;
        becomes("the first goes on", 2, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}
