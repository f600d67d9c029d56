//! Two hosts share the work, and one takes over when the other dies.

use mailroom_tests::kafka::record::{ensure_rising_per_key, first_occurrences};
use mailroom_tests::{LATER, Load, SOON, Setup, becomes, eventually, in_world};
use tokio::try_join;

use crate::arrange::Scripted;

const INBOX_OWNERS: &str = "select count(distinct owner) from mailroom.lane where kind = 'inbox'";
const OUTBOX_OWNERS: &str = "select count(distinct owner) from mailroom.lane where kind = 'outbox'";

#[test]
fn two_hosts_share_the_lanes_and_one_takes_over_when_the_other_is_killed() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 4).await?;
        let first = world.start_host("a")?;
        let second = world.start_host("b")?;
        let load = Load::new(&world.kafka, &scripted.input, &scripted.output);
        let killed = async {
            eventually("messages flow", SOON, async || Ok(world.db.completed().await? > 20)).await?;
            becomes("both have inbox lanes", 2, SOON, async || world.db.one::<i64>(INBOX_OWNERS).await)
                .await?;
            becomes("both have outbox lanes", 2, SOON, async || world.db.one::<i64>(OUTBOX_OWNERS).await)
                .await?;
            first.kill().await?;
            let alone = "select count(*) from mailroom.lane l join mailroom.host h on h.id = l.owner
                          where h.worker = 'b'";
            becomes("the other has all 68 lanes", 68, SOON, async || world.db.one::<i64>(alone).await)
                .await?;
            load.stop();
            Ok(())
        };

        try_join!(load.run(), killed)?;

        becomes("every message completed", load.sent()?, LATER, async || world.db.completed().await).await?;
        let relayed = "select count(*) from mailroom.outbox where status = 'completed'";
        becomes("every emitted row relayed", load.sent()?, SOON, async || world.db.one::<i64>(relayed).await)
            .await?;
        let records = world.kafka.read_all(&scripted.output).await?;
        let firsts = first_occurrences(&records)?;
        assert_eq!(i64::try_from(firsts.len())?, load.sent()?, "no id is missing");
        ensure_rising_per_key(&firsts, "value")?;
        second.stop().await?;
        Ok(())
    });
}
