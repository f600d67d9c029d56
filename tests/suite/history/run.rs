//! The messages and the hosts of one history.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::history::Sent;
use mailroom_tests::{Host, Message, SOON, World, becomes};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio::try_join;

use super::disturb::Killer;
use crate::arrange::Scripted;

const PARTITIONS: i32 = 4;
const KEYS: u64 = 1_000;
/// The load lasts at least this long, in steps of so much, however few messages there are.
const LOAD_MIN: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(100);
/// Messages that were sent and are not handled, about: beyond that the load waits for the hosts.
const AHEAD_MAX: i64 = 2_000;
/// Fewer than this in that time, and nothing was shown.
const KILLS_MIN: usize = 3;
/// Time after which a standstill is final: longer than an expiry and a rebalance.
const STILL: Duration = Duration::from_secs(20);
/// Pause between two looks at how far the hosts are.
const LOOK: Duration = Duration::from_millis(200);

/// Outbox rows that were drawn, about one a message; messages and outbox rows that are pending.
const LEFT: &str = "select (select last_value from mailroom.outbox_seq_seq),
                           (select count(*) from mailroom.inbox where status = 'pending' and not held)
                           + (select count(*) from mailroom.inbox where held),
                           (select count(*) from mailroom.outbox where status = 'pending' and not held)";

/// All lanes of both kinds.
pub(super) const LANES: i64 = 64 + PARTITIONS as i64;

/// One history on its way.
pub(super) struct Run<'w> {
    pub(super) world: &'w World,
    pub(super) scripted: Scripted,
    /// Topic of the rows that an application writes itself.
    pub(super) direct: String,
    pub(super) hosts: BTreeMap<&'static str, Host>,
    pub(super) rng: fastrand::Rng,
    sent: Vec<Sent>,
}

impl<'w> Run<'w> {
    /// Two hosts that share all lanes.
    pub(super) async fn begin(world: &'w World, seed: u64) -> Result<Self> {
        let scripted = Scripted::drop_into(world, PARTITIONS).await?;
        let direct = world.kafka.topic("direct", PARTITIONS).await?;
        let mut hosts = BTreeMap::new();
        for worker in ["a", "b"] {
            hosts.insert(worker, world.start_host(worker)?);
        }
        let rng = fastrand::Rng::with_seed(seed);
        let run = Self { world, scripted, direct, hosts, rng, sent: Vec::new() };
        run.shared().await?;
        Ok(run)
    }

    /// Waits until both hosts have their share of the lanes: one dies at a time, since Kafka's rebalance waits
    /// for each that died.
    pub(super) async fn shared(&self) -> Result<()> {
        let shares = "select count(*), count(distinct h.id) filter (where l.kind = 'inbox')
                        from mailroom.lane l join mailroom.host h on h.id = l.owner
                       where h.expires_at >= clock_timestamp()";
        becomes("both have their share of the lanes", vec![(LANES, 2)], SOON, async || {
            self.world.db.rows::<(i64, i64)>(shares).await
        })
        .await
    }

    /// Sends all messages while one host after the other is killed, and then comes what needs a quiet moment.
    pub(super) async fn disturbed(&mut self, messages: u64) -> Result<()> {
        let load: Vec<Message> = (0..messages).map(|_| self.any_message()).collect();
        let over = Cell::new(false);
        let sent = async {
            send(self.world, &load).await?;
            over.set(true);
            Ok(())
        };
        let mut killer = Killer { world: self.world, hosts: &mut self.hosts, rng: self.rng.fork() };
        let ((), kills) = try_join!(sent, killer.kills_until(&over))?;
        eprintln!("{kills} kills while {messages} messages were sent");
        ensure!(kills >= KILLS_MIN, "only {kills} kills while {messages} messages were sent");
        if !self.drained().await? {
            return Ok(());
        }
        self.killed_while_storing().await?;
        // Twice: once was seen not to show a late settlement each time.
        for key in ["slow", "slow-again"] {
            if self.drained().await? {
                self.frozen_while_a_guest_runs(key).await?;
            }
        }
        if self.drained().await? {
            self.committed_late().await?;
            self.drained().await?;
        }
        Ok(())
    }

    /// The next message: of any key, three of a hundred with failures.
    fn any_message(&mut self) -> Message {
        let key = format!("key-{}", self.rng.u64(..KEYS));
        let failures = if self.rng.u32(..100) < 3 { self.rng.i64(1..=2) } else { 0 };
        let ways = ["fail", "retry", "panic"];
        let way = ways.get(self.rng.usize(..ways.len())).copied().unwrap_or("fail");
        self.message(&key, failures, way)
    }

    /// The next message: of this key, whose script fails so often in this way.
    pub(super) fn message(&mut self, key: &str, failures: i64, way: &str) -> Message {
        let value = i64::try_from(self.sent.len()).unwrap_or(i64::MAX);
        let id = format!("m-{value}");
        let mut script = json!({"topic": self.scripted.output, "value": value, "add": 1});
        if let Some(script) = script.as_object_mut().filter(|_| failures > 0) {
            script.insert("behave".to_owned(), Value::from(way));
            script.insert("until_attempt".to_owned(), Value::from(failures + 1));
        }
        let message = self.scripted.says(key, &script).id(&id);
        self.sent.push(Sent { id, key: key.to_owned(), value, failures });
        message
    }

    /// Waits until everything is handled and published; `false` where that does not come.
    pub(super) async fn drained(&self) -> Result<bool> {
        let all = i64::try_from(self.sent.len())?;
        let (mut seen, mut since) = ((-1, -1, -1, -1), Instant::now());
        let mut tick = interval(LOOK);
        loop {
            tick.tick().await;
            let left: (i64, i64, i64) =
                self.world.db.rows(LEFT).await?.into_iter().next().context("no row")?;
            // All rows are counted only where it may be the last time.
            let completed = if (left.1, left.2) == (0, 0) { self.world.db.completed().await? } else { -1 };
            let now = (left.0, left.1, left.2, completed);
            if completed == all {
                return Ok(true);
            }
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() > STILL {
                eprintln!(
                    "nothing moves any more: {all} messages sent; outbox rows drawn, messages pending, outbox rows \
                     pending, completed: {now:?}"
                );
                return Ok(false);
            }
        }
    }

    pub(super) fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// The topics with what the hosts published.
    pub(super) fn topics(&self) -> [&str; 2] {
        [&self.scripted.output, &self.direct]
    }

    pub(super) async fn end(self) -> Result<()> {
        for host in self.hosts.into_values() {
            host.stop().await?;
        }
        Ok(())
    }
}

/// Sends the messages in their order, step by step, never too far ahead of the hosts.
async fn send(world: &World, messages: &[Message]) -> Result<()> {
    let steps = usize::try_from(LOAD_MIN.as_millis() / STEP.as_millis())?;
    let mut tick = interval(STEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = 0;
    for some in messages.chunks(messages.len().div_ceil(steps)) {
        tick.tick().await;
        // Cheap to ask.
        while sent - world.db.one::<i64>("select last_value from mailroom.outbox_seq_seq").await? > AHEAD_MAX
        {
            tick.tick().await;
        }
        world.kafka.send_all(some).await?;
        sent += i64::try_from(some.len())?;
    }
    Ok(())
}
