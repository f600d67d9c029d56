//! Servers that are away when the host starts: it waits, says for whom, and begins when they are there.

use mailroom_tests::{SOON, Setup, becomes, in_world};

use crate::arrange::Scripted;

#[test]
fn a_host_waits_for_postgres_and_says_so() {
    in_world(Setup { own_postgres: true, ..Setup::default() }, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        world.with_postgres(|postgres| postgres.stop()).await?;

        let mut host = world.start_host("a")?;
        let url = world.db.url();
        let address = url.split(['@', '/']).nth(3).unwrap_or("no address");
        host.wait_log(address).await?;
        host.still_runs()?;
        world.with_postgres(|postgres| postgres.restart()).await?;

        becomes("the message is handled", 1, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_host_waits_for_kafka_and_says_so() {
    in_world(Setup { own_kafka: true, ..Setup::default() }, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        world.with_kafka(|kafka| kafka.stop()).await?;

        let mut host = world.start_host("a")?;
        host.wait_log(world.kafka.brokers()).await?;
        host.still_runs()?;
        world.with_kafka(|kafka| kafka.restart()).await?;

        becomes("the message is handled", 1, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_host_that_waits_for_a_server_can_be_stopped() {
    in_world(Setup { own_postgres: true, ..Setup::default() }, async |world| {
        world.with_postgres(|postgres| postgres.stop()).await?;
        let host = world.start_host("a")?;
        host.wait_log("127.0.0.1").await?;
        host.stop().await?;
        world.with_postgres(|postgres| postgres.restart()).await
    });
}
