//! A healthy handler beside one whose calls loop until their deadline, four at once.

use std::time::Duration;

use anyhow::{Context as _, Result};
use mailroom_tests::{Manifest, Message};

use crate::figure::{Delays, Figure, Measured, Neighbour, Paced};
use crate::ground::{Ground, Handler};
use crate::latency::{inward_ms, send_one_by_one};
use crate::payload::PARTITIONS;
use crate::stage::Stage;

/// Twenty seconds of them.
const MESSAGES: u32 = 4_000;

/// Pause between two of the neighbour's messages: 200 a second.
const PACE: Duration = Duration::from_millis(5);

/// Count of the neighbour's messages that are not handled.
const UNHANDLED: &str = "
    select 4000 - count(*) from mailroom.inbox where status = 'completed' and consumer_group like '%.noop'";

/// Query for the rate from the neighbour's first row to the last that it completed.
const RATE: &str = "
    select count(*) / extract(epoch from max(completed_at) - min(created_at))::double precision
      from mailroom.inbox where status = 'completed' and consumer_group like '%.noop'";

/// Calls that loop at once.
const LOOPERS: u32 = 4;

/// The guest that can be told to loop.
const LOOPER: &str = "scripted";

/// Only the deadline ends a call, and nothing ends the repeats of it.
const UNENDING: &str = "
[limits]
deadline = \"1s\"
fuel = 1000000000000000

[retry]
attempts-max = 1000
base = \"1ms\"
cap = \"1ms\"

[breaker]
threshold = 1000000
";

/// Both in turn, each on a ground of its own.
pub(crate) async fn measure(stage: &Stage) -> Result<Figure> {
    let quiet = paced(stage, "quiet", 0).await?;
    let beside = paced(stage, "beside", LOOPERS).await?;
    let is = Measured::Neighbour(Neighbour { quiet, beside });
    Ok(Figure { of: "a neighbour beside four loopers, 200/s", is })
}

async fn paced(stage: &Stage, name: &str, loopers: u32) -> Result<Paced> {
    let ground = Ground::new(stage, name, Handler::Component).await?;
    let topic = ground.kafka.topic("loop", PARTITIONS).await?;
    let manifest = Manifest::takes(&[&topic]).with(&format!("concurrency = {LOOPERS}")).to_toml();
    ground.add_handler(LOOPER, &format!("{manifest}{UNENDING}"))?;
    let mut host = ground.host_up().await?;
    for number in 0..loopers {
        let message = Message::to(&topic).key(format!("looper-{number}")).payload(r#"{"behave": "loop"}"#);
        ground.kafka.send(&message).await?;
    }
    ground.until_looping(loopers).await?;
    send_one_by_one(&ground, MESSAGES, PACE).await?;
    ground.until_none(&mut host, UNHANDLED).await?;
    let per_sec = ground.db.one(RATE).await?;
    let delays = inward_ms(&ground, stage.brokers(), MESSAGES).await?;
    let still = ground.loops().await?;
    host.stop().await?;
    ground.remove().await?;
    anyhow::ensure!(still == i64::from(loopers), "{still} of {loopers} loopers were left");
    Ok(Paced { per_sec, delays: Delays::of(delays).context("no message was measured")? })
}

impl Ground {
    /// Waits until each looper was ended once: all of them loop by then.
    async fn until_looping(&self, loopers: u32) -> Result<()> {
        let looped = async || {
            let ended = "select count(distinct (lane, seq)) from mailroom.attempt where fault = 'deadline'";
            self.db.one::<i64>(ended).await
        };
        mailroom_tests::becomes("the loopers loop", i64::from(loopers), mailroom_tests::SOON, looped).await
    }

    /// Counts the loopers.
    async fn loops(&self) -> Result<i64> {
        let pending = "
            select count(*) from mailroom.inbox where status = 'pending' and consumer_group like '%.scripted'";
        self.db.one(pending).await
    }
}
