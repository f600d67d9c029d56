//! A consumer that Kafka gives up: its partitions are free for others, and another one joins in its place.

use std::fs;

use anyhow::{Context as _, Result};
use mailroom_tests::{Host, LATER, Manifest, SOON, Setup, becomes, in_world};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::arrange::Scripted;

/// Sets how many file descriptors the host may have, and gives how many it might before.
fn limit_descriptors(host: &Host, limit: Option<u64>) -> Result<Option<u64>> {
    let pid = Pid::from_raw(i32::try_from(host.pid()?)?).context("a host's number is not 0")?;
    let before = rustix::process::getrlimit(Resource::Nofile);
    let new = Rlimit { current: limit, maximum: before.maximum };
    Ok(prlimit(Some(pid), Resource::Nofile, new)?.current)
}

#[test]
fn a_consumer_whose_group_is_closed_to_it_is_given_up_and_another_one_goes_on_once_it_is_open() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("the first is completed", 1, SOON, async || world.db.completed().await).await?;

        let group = world.group("scripted");
        world.kafka.deny_group(&group, true).await?;
        host.wait_log(&format!("The consumer of group {group} is given up")).await?;
        world.kafka.send(&scripted.emits("k", 2)).await?;
        world.kafka.deny_group(&group, false).await?;

        becomes("it goes on", 2, LATER, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_handler_without_descriptors_for_its_consumer_says_so_and_begins_once_there_are_and_the_others_go_on() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let mut host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("the first handler works", 1, SOON, async || world.db.completed().await).await?;

        // Enough for all but one more consumer.
        let open = fs::read_dir(format!("/proc/{}/fd", host.pid()?))?.count();
        let before = limit_descriptors(&host, Some(u64::try_from(open)? + 60))?;
        let late = world.kafka.topic("late", 1).await?;
        world.drop_handler("late", "scripted", &Manifest::takes(&[&late]).publishes(&[&scripted.output]))?;
        host.wait_log("Handler late does not run: its consumer cannot be made").await?;
        host.wait_log("ulimit -n").await?;
        world.kafka.send(&scripted.emits("k", 2)).await?;
        becomes("it still does", 2, SOON, async || world.db.completed().await).await?;
        let status = world.mailroom(&["status"]).await?.ok()?;
        assert!(status.contains("refuses handler late: its consumer cannot be made"), "{status}");
        host.still_runs()?;

        limit_descriptors(&host, before)?;
        host.wait_log("Handler late has consumer group").await?;
        let to_late = Scripted { input: late, output: scripted.output.clone() };
        world.kafka.send(&to_late.emits("k", 3)).await?;
        becomes("the late one works", 3, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}
