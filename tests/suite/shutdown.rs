//! SIGTERM: what runs is settled, what waits stays, and the next host begins at once.

use anyhow::{Result, ensure};
use mailroom_tests::{Load, SOON, Setup, World, becomes, eventually, in_world};
use tokio::try_join;

use crate::arrange::Scripted;

/// A host that dies keeps its lanes for this long; one that stops must give them up.
const LONG_EXPIRY: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[("MAILROOM__HOST__EXPIRY", "5m")],
};

async fn nothing_is_half_done(world: &World) -> Result<()> {
    let spent = "select count(*) from mailroom.inbox where attempts_made > 0 or status = 'failed'";
    ensure!(world.db.one::<i64>(spent).await? == 0, "the stop cost a message an attempt");
    let owned = "select count(*) from mailroom.lane where owner is not null";
    ensure!(world.db.one::<i64>(owned).await? == 0, "the stopped host still owns lanes");
    ensure!(world.db.one::<i64>("select count(*) from mailroom.host").await? == 0, "its row is still there");
    Ok(())
}

#[test]
fn a_host_that_is_stopped_under_load_ends_with_0_and_the_next_takes_its_lanes_at_once() {
    in_world(LONG_EXPIRY, async |world| {
        let scripted = Scripted::drop_into(world, 2).await?;
        let host = world.start_host("a")?;
        let load = Load::new(&world.kafka, &scripted.input, &scripted.output);
        let stopped = async {
            eventually("messages flow", SOON, async || Ok(world.db.completed().await? > 50)).await?;
            host.stop().await?;
            nothing_is_half_done(world).await?;
            load.stop();
            Ok(())
        };

        try_join!(load.run(), stopped)?;
        let next = world.start_host("b")?;

        becomes("every message completed", load.sent()?, 2 * SOON, async || world.db.completed().await)
            .await?;
        becomes("every message emitted once", load.sent()?, SOON, async || {
            Ok(i64::try_from(world.kafka.read_all(&scripted.output).await?.len())?)
        })
        .await?;
        next.stop().await?;
        Ok(())
    });
}
