//! Kafka no longer has what comes next, or the offset row is wrong: it is told, nothing is skipped unasked,
//! and the partition goes on once somebody says so.

use anyhow::Result;
use mailroom_tests::{Host, SOON, Setup, World, becomes, in_world};

use crate::arrange::Scripted;

const SKIP: [(&str, &str); 2] =
    [("MAILROOM__INGEST__GAP", "skip"), ("MAILROOM__ADMIN__LISTEN", "127.0.0.1:0")];

/// Handles the messages 1 to `messages` of one partition, and stops.
async fn handled(world: &World, messages: i64) -> Result<Scripted> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let host = world.start_host("a")?;
    for value in 1..=messages {
        world.kafka.send(&scripted.emits("k", value)).await?;
    }
    becomes("they are completed", messages, SOON, async || world.db.completed().await).await?;
    host.stop().await?;
    Ok(scripted)
}

/// A host that stops before the gap, and says `told`; then one that goes on behind it.
async fn told_then_skipped(world: &World, told: &str, behind: &str) -> Result<Host> {
    let before = world.db.completed().await?;
    let host = world.start_host("b")?;
    host.wait_log(told).await?;
    host.wait_log("is stopped:").await?;
    assert_eq!(world.db.completed().await?, before, "nothing is handled behind the gap");
    host.stop().await?;
    let host = world.start_host_with("c", &SKIP)?;
    host.wait_log(told).await?;
    host.wait_log(behind).await?;
    Ok(host)
}

async fn emitted(world: &World, scripted: &Scripted) -> Result<Vec<i64>> {
    world.kafka.read_all(&scripted.output).await?.iter().map(|record| record.number("value")).collect()
}

#[test]
fn a_topic_that_was_deleted_and_made_again_stops_until_the_gap_is_skipped_and_then_begins_anew() {
    in_world(Setup::default(), async |world| {
        let scripted = handled(world, 2).await?;
        world.kafka.delete_topic(&scripted.input).await?;
        world.kafka.create(&scripted.input, 1).await?;
        world.kafka.send(&scripted.emits("k", 3)).await?;

        let host = told_then_skipped(world, "was deleted and made again", "Going on at offset 0").await?;

        becomes("the new one is emitted", vec![1, 2, 3], SOON, async || emitted(world, &scripted).await)
            .await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_stored_offset_beyond_the_end_of_the_log_stops_until_the_gap_is_skipped() {
    in_world(Setup::default(), async |world| {
        let scripted = handled(world, 2).await?;
        world.db.execute("update mailroom.partition_offset set next_offset = 100").await?;

        let host = told_then_skipped(world, "offset 100 is beyond the end", "Going on at offset 2").await?;
        world.kafka.send(&scripted.emits("k", 3)).await?;

        becomes("what comes then is emitted", vec![1, 2, 3], SOON, async || emitted(world, &scripted).await)
            .await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn records_that_were_deleted_before_they_were_read_are_named_and_the_rest_is_handled_once_they_are_skipped() {
    in_world(Setup::default(), async |world| {
        let scripted = handled(world, 3).await?;
        for value in 4..=6 {
            world.kafka.send(&scripted.emits("k", value)).await?;
        }
        world.kafka.delete_records_before(&scripted.input, 0, 5).await?;

        let host = told_then_skipped(world, "offsets 3 to 4 are no longer", "Going on at offset 5").await?;

        becomes("the rest is emitted", vec![1, 2, 3, 6], SOON, async || emitted(world, &scripted).await)
            .await?;
        let skipped = host.admin().await?.metrics().await?.sum("mailroom_skipped_total", &[]);
        assert_eq!(skipped, Some(2.0), "offsets 3 and 4");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_topic_that_vanishes_under_the_host_is_told_and_the_others_go_on() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let vanishing = world.kafka.topic("vanishing", 1).await?;
        let manifest =
            mailroom_tests::Manifest::takes(&[&scripted.input, &vanishing]).publishes(&[&scripted.output]);
        world.drop_handler("scripted", "scripted", &manifest)?;
        let mut host = world.start_host("a")?;
        let from_vanishing = Scripted { input: vanishing, output: scripted.output.clone() };
        world.kafka.send(&from_vanishing.emits("k", 1)).await?;
        becomes("the first is completed", 1, SOON, async || world.db.completed().await).await?;

        world.kafka.delete_topic(&from_vanishing.input).await?;
        host.wait_log(&format!("Topic {} does not exist", from_vanishing.input)).await?;
        world.kafka.send(&scripted.emits("k", 2)).await?;
        becomes("the other topic goes on", 2, SOON, async || world.db.completed().await).await?;

        world.kafka.create(&from_vanishing.input, 1).await?;
        host.wait_log("was deleted and made again").await?;
        world.kafka.send(&scripted.emits("k", 3)).await?;
        becomes("and still does", 3, SOON, async || world.db.completed().await).await?;
        host.still_runs()?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_topic_that_is_gone_is_told_by_a_host_that_works_off_what_was_stored_of_it() {
    in_world(Setup { own_kafka: true, ..Setup::default() }, async |world| {
        let scripted = handled(world, 1).await?;
        world.kafka.delete_topic(&scripted.input).await?;
        world.with_kafka(|kafka| kafka.stop()).await?;
        let host = world.start_host("b")?;
        let taken = "select count(*) from mailroom.lane where kind = 'inbox' and owner is not null";
        becomes("its lane is taken", 1_i64, SOON, async || world.db.one(taken).await).await?;

        world.with_kafka(|kafka| kafka.restart()).await?;

        host.wait_log(&format!("Topic {} does not exist", scripted.input)).await?;
        host.stop().await?;
        Ok(())
    });
}

/// Deletes the input under a host that has read `read` of it, and fills it anew beyond that, from 101 on.
async fn made_again_and_refilled(world: &World, scripted: &Scripted, read: i64) -> Result<()> {
    world.kafka.delete_topic(&scripted.input).await?;
    world.kafka.create(&scripted.input, 1).await?;
    for value in 101..=100 + 4 * read {
        world.kafka.send(&scripted.emits("k", value)).await?;
    }
    Ok(())
}

#[test]
fn a_topic_that_is_made_again_and_refilled_under_the_host_stops_and_names_what_may_be_of_either() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        for value in 1..=5 {
            world.kafka.send(&scripted.emits("k", value)).await?;
        }
        becomes("they are completed", 5, SOON, async || world.db.completed().await).await?;

        made_again_and_refilled(world, &scripted, 5).await?;

        host.wait_log("was deleted and made again").await?;
        host.wait_log("is stopped:").await?;
        host.stop().await?;
        let host = world.start_host_with("b", &SKIP)?;
        let all: Vec<i64> = (1..=5).chain(101..=120).collect();
        becomes("all of the new one is emitted, once", all, SOON, async || {
            let mut values = emitted(world, &scripted).await?;
            values.sort_unstable();
            Ok(values)
        })
        .await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_topic_that_is_made_again_and_refilled_is_read_from_its_start_and_once_where_gaps_are_skipped() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host_with("a", &SKIP)?;
        for value in 1..=5 {
            world.kafka.send(&scripted.emits("k", value)).await?;
        }
        becomes("they are completed", 5, SOON, async || world.db.completed().await).await?;

        made_again_and_refilled(world, &scripted, 5).await?;

        host.wait_log("was deleted and made again").await?;
        let all: Vec<i64> = (1..=5).chain(101..=120).collect();
        becomes("all of the new one is emitted, once", all, SOON, async || {
            let mut values = emitted(world, &scripted).await?;
            values.sort_unstable();
            Ok(values)
        })
        .await?;
        host.stop().await?;
        Ok(())
    });
}
