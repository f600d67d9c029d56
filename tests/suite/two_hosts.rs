//! Two hosts share the work, and one takes over when the other dies.

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::kafka::record::{ensure_rising_per_key, first_occurrences};
use mailroom_tests::{LATER, Load, SOON, Setup, World, becomes, eventually, in_world};
use tokio::try_join;

use crate::arrange::Scripted;

const INBOX_OWNERS: &str = "select count(distinct owner) from mailroom.lane where kind = 'inbox'";
const OUTBOX_OWNERS: &str = "select count(distinct owner) from mailroom.lane where kind = 'outbox'";

async fn both_have_lanes(world: &World) -> Result<()> {
    becomes("both have inbox lanes", 2, SOON, async || world.db.one::<i64>(INBOX_OWNERS).await).await?;
    becomes("both have outbox lanes", 2, SOON, async || world.db.one::<i64>(OUTBOX_OWNERS).await).await
}

#[test]
fn two_hosts_share_the_lanes_and_one_takes_over_when_the_other_is_killed() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 4).await?;
        let first = world.start_host("a")?;
        let second = world.start_host("b")?;
        let load = Load::new(&world.kafka, &scripted.input, &scripted.output);
        let killed = async {
            eventually("messages flow", SOON, async || Ok(world.db.completed().await? > 20)).await?;
            both_have_lanes(world).await?;
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

/// An expiry of two seconds, for Kafka too: it gives a dead member's partitions away no sooner.
const QUICK: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[
        ("MAILROOM__HOST__EXPIRY", "2s"),
        ("MAILROOM__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "2000"),
        ("MAILROOM__LIMITS__DEADLINE", "1s"),
        ("MAILROOM__RELAY__PUBLISH_TIMEOUT", "1s"),
    ],
};
const EXPIRY_MILLIS: i64 = 2_000;

/// Query, by the clock of Postgres and in milliseconds, for when the lane was taken after `$1`, and when the
/// first message of it, or the first row, was settled after that. A settlement carries its owner's token.
const TAKEN: &str = "
    select l.kind, (extract(epoch from l.owned_since) * 1000)::bigint,
           (extract(epoch from coalesce(
               (select min(i.completed_at) from mailroom.inbox i
                 where i.lane = l.id and i.completed_at >= l.owned_since),
               (select min(o.completed_at) from mailroom.outbox o
                 where o.lane = l.id and o.completed_at >= l.owned_since))) * 1000)::bigint
      from unnest($1::integer[]) w(id) join mailroom.lane l using (id) join mailroom.host h on h.id = l.owner
     where h.worker = 'b'";

/// The expiry of the host `a`, and its lanes.
async fn left_by_a(world: &World) -> Result<(i64, Vec<i32>)> {
    let left = "select (extract(epoch from h.expires_at) * 1000)::bigint, array_agg(l.id)
                  from mailroom.host h join mailroom.lane l on l.owner = h.id
                 where h.worker = 'a' group by h.expires_at";
    world.db.rows(left).await?.into_iter().next().context("the dead host was buried at once")
}

#[test]
fn a_dead_hosts_lanes_are_taken_after_its_expiry_and_their_messages_settled_within_another() {
    in_world(QUICK, async |world| {
        let scripted = Scripted::drop_into(world, 4).await?;
        let first = world.start_host("a")?;
        let second = world.start_host("b")?;
        let load = Load::new(&world.kafka, &scripted.input, &scripted.output);
        let measured = async {
            eventually("messages flow", SOON, async || Ok(world.db.completed().await? > 20)).await?;
            both_have_lanes(world).await?;
            first.kill().await?;
            let (expired, lanes) = left_by_a(world).await?;
            let mut taken: Vec<(String, i64, Option<i64>)> = Vec::new();
            eventually("b has them all, and has settled messages of both kinds", SOON, async || {
                taken = sqlx::query_as(TAKEN).bind(&lanes).fetch_all(world.db.pool()).await?;
                let settled = |kind: &str| taken.iter().any(|lane| lane.0 == kind && lane.2.is_some());
                Ok(taken.len() == lanes.len() && settled("inbox") && settled("outbox"))
            })
            .await?;
            load.stop();
            Ok((expired, taken))
        };

        let ((), (expired, taken)) = try_join!(load.run(), measured)?;

        for kind in ["inbox", "outbox"] {
            let of_kind = || taken.iter().filter(|lane| lane.0 == kind);
            let after = |at: Option<i64>| at.map(|at| at - expired);
            let (soonest, latest) = (of_kind().map(|lane| lane.1).min(), of_kind().map(|lane| lane.1).max());
            let settled = of_kind().filter_map(|lane| lane.2).min();
            let (soonest, latest, settled) = (after(soonest), after(latest), after(settled));
            eprintln!(
                "{kind}: taken {soonest:?} to {latest:?} ms after the expiry, first settled {settled:?}"
            );
            ensure!(soonest >= Some(0), "{kind}: a lane was taken before its owner was dead: {soonest:?} ms");
            ensure!(latest <= Some(EXPIRY_MILLIS), "{kind}: a lane was taken {latest:?} ms after the expiry");
            ensure!(
                settled <= Some(EXPIRY_MILLIS),
                "{kind}: nothing was settled until {settled:?} ms after it"
            );
        }
        second.stop().await?;
        Ok(())
    });
}
