//! A consumer group belongs to one handler, for as long as that is on any host.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use mailroom_tests::{Host, LATER, Manifest, SOON, Setup, World, becomes, guest, in_world, passes};

use crate::arrange::Scripted;

#[test]
fn a_renamed_handler_takes_its_group_along_and_goes_on_where_it_was() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let handlers = world.folder().join("handlers");
        let group = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]).with("group = \"g\"");
        world.drop_handler("scripted", "scripted", &group)?;
        let (first, second) = (world.start_host("a")?, world.start_host("b")?);
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("the first is completed", 1, SOON, async || world.db.completed().await).await?;
        // Either of them may have handled it.
        first.wait_log("Handler scripted runs").await?;
        second.wait_log("Handler scripted runs").await?;

        for end in ["toml", "wasm"] {
            fs::rename(handlers.join(format!("scripted.{end}")), handlers.join(format!("renamed.{end}")))?;
        }
        first.wait_log("Handler scripted is now renamed").await?;
        world.kafka.send(&scripted.emits("k", 2)).await?;

        becomes("it goes on behind the first", 2, SOON, async || world.db.completed().await).await?;
        let read = "select consumer_group || ' ' || next_offset from mailroom.partition_offset";
        assert_eq!(world.db.column::<String>(read).await?, ["g 2"], "nothing was read again");
        let groups = "select name || ' ' || handler from mailroom.consumer_group";
        assert_eq!(world.db.column::<String>(groups).await?, ["g renamed"]);
        first.stop().await?;
        second.stop().await?;
        Ok(())
    });
}

#[test]
fn a_handler_that_waits_for_a_group_has_it_once_the_other_is_taken_away() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let handlers = world.folder().join("handlers");
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("the first is completed", 1, SOON, async || world.db.completed().await).await?;
        let group = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]);
        let group = group.with(&format!("group = \"{}\"", world.group("scripted")));
        world.drop_handler("second", "scripted", &group)?;
        host.wait_log("belongs to handler scripted: give second another").await?;

        // A new version of it changes nothing of that.
        let second = "select digest || ' ' || state from mailroom.handler where name = 'second'";
        let digest = world.db.digest_of(&guest("noop")?).await?;
        world.drop_handler("second", "noop", &group)?;
        becomes("it still waits", format!("{digest} refused"), SOON, async || {
            world.db.one::<String>(second).await
        })
        .await?;
        world.kafka.send(&scripted.emits("k", 2)).await?;
        becomes("the first goes on", 2, SOON, async || world.db.completed().await).await?;

        fs::remove_file(handlers.join("scripted.wasm"))?;

        host.wait_log("Handler second has consumer group").await?;
        becomes("it runs", format!("{digest} running"), SOON, async || world.db.one::<String>(second).await)
            .await?;
        world.kafka.send(&scripted.emits("k", 3)).await?;
        becomes("it goes on behind the others", 3, SOON, async || world.db.completed().await).await?;
        let digests = "select handler_digest from mailroom.inbox order by seq";
        assert_eq!(world.db.column::<String>(digests).await?.get(2), Some(&digest));
        host.stop().await?;
        Ok(())
    });
}

/// Drops a handler into a folder of its own, for a host with another configuration than the others.
fn drop_apart(world: &World, folder: &str, handler: &str, of: &str, manifest: &Manifest) -> Result<()> {
    let folder = world.folder().join(folder);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("{handler}.toml")), manifest.to_toml())?;
    fs::copy(guest(of)?, world.folder().join(format!("{handler}.copy")))?;
    Ok(fs::rename(world.folder().join(format!("{handler}.copy")), folder.join(format!("{handler}.wasm")))?)
}

/// Starts a host with the handlers of that folder.
fn start_apart(world: &World, worker: &str, folder: &str) -> Result<Host> {
    let folder = world.folder().join(folder).display().to_string();
    world.start_host_with(worker, &[("MAILROOM__HOST__HANDLERS", &folder)])
}

#[test]
fn while_a_handler_changes_its_group_on_one_host_after_the_other_nobody_else_gets_the_old_one() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 4).await?;
        fs::remove_file(world.folder().join("handlers/scripted.wasm"))?;
        let manifest = |group: &str| {
            let takes = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]);
            takes.with(&format!("group = \"{}\"", world.group(group)))
        };
        drop_apart(world, "old", "first", "scripted", &manifest("one"))?;
        let old = start_apart(world, "a", "old")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("the old host handles it", 1, SOON, async || world.db.completed().await).await?;

        // The new configuration: another group for `first`, whose old one is for `second`.
        drop_apart(world, "new", "first", "scripted", &manifest("two").with("start = \"latest\""))?;
        drop_apart(world, "new", "second", "noop", &manifest("one"))?;
        let new = start_apart(world, "b", "new")?;

        new.wait_log("belongs to handler first: give second another").await?;
        let claims =
            format!("select handler from mailroom.consumer_group where name = '{}'", world.group("one"));
        let claims = || sqlx::AssertSqlSafe(claims.clone());
        assert_eq!(world.db.column::<String>(claims()).await?, ["first"]);
        old.stop().await?;
        new.wait_log("Handler second has consumer group").await?;
        assert_eq!(world.db.column::<String>(claims()).await?, ["second"]);
        new.stop().await?;
        Ok(())
    });
}

#[test]
fn a_lane_of_a_topic_that_only_the_new_version_takes_is_not_worked_off_by_the_old_one() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let late = Scripted { input: world.kafka.topic("late", 1).await?, output: scripted.output.clone() };
        let old = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]);
        world.drop_handler("scripted", "scripted", &old)?;
        let new = Manifest::takes(&[&scripted.input, &late.input]).publishes(&[&scripted.output]);
        drop_apart(world, "new", "scripted", "scripted", &new.with("version = \"new\""))?;
        let first = world.start_host("a")?;
        let second = start_apart(world, "b", "new")?;
        second.wait_log(&format!("Reading partition 0 of topic {}", late.input)).await?;
        world.mailroom(&["handler", "pause", "scripted"]).await?.ok()?;
        second.wait_log("is paused").await?;
        world.kafka.send(&late.emits("k", 1)).await?;
        let stored = "select count(*) from mailroom.inbox where status = 'pending'";
        becomes("it is stored", 1_i64, SOON, async || world.db.one(stored).await).await?;

        second.kill().await?;
        world.mailroom(&["handler", "resume", "scripted"]).await?.ok()?;
        world.kafka.send(&scripted.emits("k", 2)).await?;
        becomes("the old host works", 1, LATER, async || world.db.completed().await).await?;
        let buried = "select count(*) from mailroom.host";
        becomes("the new one is buried", 1_i64, SOON, async || world.db.one(buried).await).await?;
        // What nobody has for a second is anybody's.
        passes(Duration::from_secs(3)).await;
        assert_eq!(world.db.one::<i64>(stored).await?, 1, "the old version does not take it");

        let third = start_apart(world, "c", "new")?;
        becomes("the new version does", 2, LATER, async || world.db.completed().await).await?;
        first.stop().await?;
        third.stop().await?;
        Ok(())
    });
}
