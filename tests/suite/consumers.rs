//! A consumer that Kafka gives up: its partitions are free for others, and another one joins in its place.

use mailroom_tests::{LATER, SOON, Setup, becomes, in_world};

use crate::arrange::Scripted;

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
