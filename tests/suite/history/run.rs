//! The messages and the hosts of one history.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mailroom_tests::history::Sent;
use mailroom_tests::{Host, Message, SOON, World, becomes};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::arrange::Scripted;

const PARTITIONS: i32 = 4;
const KEYS: u64 = 1_000;
/// How many messages are sent between two kills, about.
const ROUND: u64 = 3_000;
/// Where nothing has moved for so long, nothing will: longer than an expiry and a rebalance.
const STILL: Duration = Duration::from_secs(12);
/// Between two looks at how far the hosts are.
const LOOK: Duration = Duration::from_millis(200);

/// All lanes of both kinds.
pub(super) const LANES: i64 = 64 + PARTITIONS as i64;

/// One history on its way.
pub(super) struct Run<'w> {
    pub(super) world: &'w World,
    pub(super) scripted: Scripted,
    /// Where rows go that an application writes itself.
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

    /// Sends all messages, in rounds with a kill in each, and then comes what needs a quiet moment.
    pub(super) async fn disturbed(&mut self, messages: u64) -> Result<()> {
        let rounds = (messages / ROUND).max(4);
        for _ in 0..rounds {
            self.round(messages / rounds).await?;
            if !self.drained().await? {
                return Ok(());
            }
        }
        self.killed_while_storing().await?;
        if self.drained().await? {
            self.frozen_while_a_guest_runs().await?;
        }
        if self.drained().await? {
            self.committed_late().await?;
            self.drained().await?;
        }
        Ok(())
    }

    async fn round(&mut self, messages: u64) -> Result<()> {
        self.shared().await?;
        let sent: Vec<Message> = (0..messages).map(|_| self.any_message()).collect();
        let before = self.emitted().await?;
        self.world.kafka.send_all(&sent).await?;
        let share = i64::try_from(self.rng.u64(..messages / 2))?;
        let some = async || Ok(self.emitted().await? >= before + share);
        mailroom_tests::eventually("some of the round's messages are handled", SOON, some).await?;
        self.killed_under_load().await
    }

    /// How many rows were drawn in the outbox, about one a message: cheap to ask.
    async fn emitted(&self) -> Result<i64> {
        self.world.db.one("select last_value from mailroom.outbox_seq_seq").await
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
        let far = "select (select count(*) from mailroom.inbox where status = 'completed'),
                          (select count(*) from mailroom.outbox where status = 'pending')";
        let (mut seen, mut since) = ((-1, -1), Instant::now());
        let mut tick = interval(LOOK);
        loop {
            tick.tick().await;
            let now: (i64, i64) = self.world.db.rows(far).await?.into_iter().next().context("no row")?;
            if now == (i64::try_from(self.sent.len())?, 0) {
                return Ok(true);
            }
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() > STILL {
                eprintln!(
                    "nothing moves any more: {} messages sent, {now:?} completed, to be published",
                    self.sent.len()
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
