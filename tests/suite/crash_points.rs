//! SIGKILL at each step of a message's way. A proxy freezes the host there, the test sees it at the proxy
//! and by what is stored, kills, starts a host without the proxy, and lets `check` look at everything.

mod away;
mod check;
mod late;
mod points;

use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{
    Keep, Message, Proxy, Request, SOON, Setup, World, becomes, eventually, in_world,
    in_world_with_kafka_proxy,
};
use serde_json::json;

use crate::arrange::Scripted;
use check::{Left, everything_once, left};

/// Messages of a round, over four keys.
const ROUND: i64 = 8;
const KEYS: i64 = 4;

/// A step to die at, and what must hold before another host goes on.
struct Point {
    request: Request,
    keep: Keep,
    /// Tells from what is left whether the host stood at this step.
    stood: fn(&Left) -> bool,
    /// Number of records that are on Kafka twice in the end.
    repeats: RangeInclusive<usize>,
}

impl Point {
    fn leaves_a_transaction_open(&self) -> bool {
        matches!((self.request, self.keep), (Request::CommitAfter(_), Keep::Request))
    }
}

/// The messages of a round: each is added to its key's sum, and the sum comes back.
fn round(scripted: &Scripted, number: i64) -> Vec<Message> {
    let message = |n: i64| {
        let adds = json!({"topic": scripted.output, "add": 1, "value": n});
        scripted.says(&format!("k{}", n % KEYS), &adds).id(&format!("m-{n}"))
    };
    (number * ROUND..(number + 1) * ROUND).map(message).collect()
}

async fn all_relayed(world: &World, sent: i64) -> Result<()> {
    let relayed = "select count(*) from mailroom.outbox where status = 'completed'";
    becomes("every emitted row relayed", sent, SOON, async || world.db.one::<i64>(relayed).await).await
}

/// A round in peace, a round into the trap, a kill, and a round with the next host.
fn dies_at(point: Point) {
    let body = async |world: &World| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send_all(&round(&scripted, 0)).await?;
        all_relayed(world, ROUND).await?;
        host.stop().await?;

        dies_behind_a_proxy(world, &scripted, &point).await?;

        let host = world.start_host("a")?;
        world.kafka.send_all(&round(&scripted, 2)).await?;
        let repeats = everything_once(world, &scripted, 3 * ROUND).await?;
        ensure!(point.repeats.contains(&repeats), "{repeats} repeats, expected {:?}", point.repeats);
        host.stop().await?;
        Ok(())
    };
    match point.request {
        Request::Produce | Request::ProduceTo(_) => in_world_with_kafka_proxy(Setup::default(), body),
        Request::Statement(_) | Request::CommitAfter(_) => in_world(Setup::default(), body),
    }
}

async fn dies_behind_a_proxy(world: &World, scripted: &Scripted, point: &Point) -> Result<()> {
    let postgres = Proxy::of_postgres(&world.db.address()).await?;
    let proxy = match point.request {
        Request::Statement(_) | Request::CommitAfter(_) => &postgres,
        Request::Produce | Request::ProduceTo(_) => {
            world.kafka_proxy.as_ref().context("there is no proxy before Kafka")?
        }
    };
    // The test's own records pass the proxy before Kafka too: they are sent before it closes.
    world.kafka.send_all(&round(scripted, 1)).await?;
    proxy.freeze(point.request, point.keep);
    let host = world.start_host_behind("a", &postgres)?;
    eventually("the host is frozen", SOON, async || Ok(proxy.frozen() > 0)).await?;
    let mut seen = Left::default();
    let stood = eventually("the host stands where it should", SOON, async || {
        seen = left(world, scripted).await?;
        let waits = !point.leaves_a_transaction_open() || seen.in_transaction > 0;
        Ok(waits && (point.stood)(&seen))
    });
    let stood = stood.await;
    stood.with_context(|| format!("left at {:?} of {:?}: {seen:?}", point.keep, point.request))?;

    host.kill().await?;
    proxy.cut();
    drop(postgres);
    becomes("the dead host's sessions are gone", 0, SOON, async || world.db.busy_sessions().await).await?;
    let seen = left(world, scripted).await?;
    ensure!((point.stood)(&seen), "the death changed what was stored: {seen:?}");
    Ok(())
}
