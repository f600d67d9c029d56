//! A consumer group belongs to one handler, for as long as that is on any host.

use std::fs;

use mailroom_tests::{Manifest, SOON, Setup, becomes, guest, in_world};

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
