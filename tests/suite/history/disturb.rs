//! Disturbances of the hosts: kills under load, and moments that a kill at random seldom hits.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Host, LATER, SOON, World, becomes, eventually, passes};
use tokio::process::Command;
use tokio::time::Instant;

use super::run::Run;

/// Milliseconds from one kill to the next, and from a kill to the victim's return.
const BETWEEN_KILLS: RangeInclusive<u64> = 3_000..=6_000;
const AWAY: RangeInclusive<u64> = 0..=4_000;

/// Query whether a host of another name than this lives, and no message is to run alone: one that dies with
/// its host then is parked, as it should be.
const MAY_DIE: &str = "
    select exists (select 1 from mailroom.host where worker <> $1 and expires_at >= clock_timestamp())
       and not exists (select 1 from mailroom.inbox where status = 'pending' and not held and crashes > 1)
       and not exists (select 1 from mailroom.inbox where held and crashes > 1)";

/// Killer of one host after the other while messages flow.
pub(super) struct Killer<'r, 'w> {
    pub(super) world: &'w World,
    pub(super) hosts: &'r mut BTreeMap<&'static str, Host>,
    pub(super) rng: fastrand::Rng,
}

impl Killer<'_, '_> {
    /// Kills one of the two every few seconds until `over`, and has it come back; gives how often. One lives at
    /// any time.
    pub(super) async fn kills_until(&mut self, over: &Cell<bool>) -> Result<usize> {
        let mut kills = 0;
        passes(Duration::from_millis(self.rng.u64(BETWEEN_KILLS))).await;
        while !over.get() {
            let victim = if self.rng.bool() { "a" } else { "b" };
            let next = Instant::now() + Duration::from_millis(self.rng.u64(BETWEEN_KILLS));
            let away = Duration::from_millis(self.rng.u64(AWAY));
            let may_die =
                async || Ok(sqlx::query_scalar(MAY_DIE).bind(victim).fetch_one(self.world.db.pool()).await?);
            // No lane is taken over between the look and the kill: that may leave messages to be run alone.
            let held = loop {
                eventually("one may be killed", LATER, may_die).await?;
                let held = self.world.db.hold("lock table mailroom.lane in share mode").await?;
                if may_die().await? {
                    break held;
                }
                held.release().await?;
            };
            let killed = self.hosts.remove(victim).context("the victim is not running")?.kill().await?;
            held.release().await?;
            kills += 1;
            passes(away).await;
            self.hosts.insert(victim, killed.restart()?);
            passes(next.saturating_duration_since(Instant::now())).await;
        }
        Ok(kills)
    }
}

impl Run<'_> {
    /// Kills a host whose transaction that stores a message is open.
    pub(super) async fn killed_while_storing(&mut self) -> Result<()> {
        self.shared().await?;
        let held = self.world.db.hold("lock table mailroom.inbox in share mode").await?;
        let message = self.message("stored-late", 0, "ok");
        let (partition, _) = self.world.kafka.send(&message).await?;
        let victim = self.owner_of(partition).await?;
        let waits = async || self.world.db.waits_for_lock("insert into mailroom.inbox").await;
        eventually("a host is storing the message", SOON, waits).await?;
        let killed = self.take(victim)?.kill().await?;
        held.release().await?;
        self.hosts.insert(victim, killed.restart()?);
        Ok(())
    }

    /// Stops a host while a guest runs, for longer than the expiry; when it goes on, another has its lane, and it
    /// does not know yet, since its heartbeat is kept from it. Its settlement comes late.
    pub(super) async fn frozen_while_a_guest_runs(&mut self, key: &str) -> Result<()> {
        self.shared().await?;
        let message = self.message(key, 1, "loop");
        let (partition, _) = self.world.kafka.send(&message).await?;
        let id = self.sent().last().context("nothing was sent")?.id.clone();
        let victim = self.owner_of(partition).await?;
        let runs = "select count(*) > 0 from mailroom.inbox i join mailroom.lane l on l.id = i.lane
                     where i.message_id = $1 and i.seq <= l.started_to
                       and i.created_at < clock_timestamp() - interval '200 ms'";
        let runs = async || Ok(sqlx::query_scalar(runs).bind(&id).fetch_one(self.world.db.pool()).await?);
        eventually("a guest runs, for two seconds", SOON, runs).await?;
        self.signal(victim, "STOP").await?;
        let taken = async || Ok(self.owner_of(partition).await.is_ok_and(|owner| owner != victim));
        eventually("the other has the lane", SOON, taken).await?;
        let held = self.world.db.hold("lock table mailroom.host in share mode").await?;
        let refused = self.refusals(victim)?;
        self.signal(victim, "CONT").await?;
        let settled = "select deliveries > 1 from mailroom.inbox where message_id = $1";
        let settled = async || {
            let settled: bool = sqlx::query_scalar(settled).bind(&id).fetch_one(self.world.db.pool()).await?;
            Ok(settled || self.refusals(victim)? > refused)
        };
        eventually("the late settlement was refused or applied", SOON, settled).await?;
        held.release().await
    }

    /// Rows that are committed after rows with a higher `seq` were published, in every lane.
    pub(super) async fn committed_late(&self) -> Result<()> {
        let insert = "insert into mailroom.outbox (topic, key, event_type, payload)
                      select $1, convert_to($2 || n, 'UTF8'), 'late', '{}' from generate_series(1, 400) n";
        let mut late = self.world.db.pool().begin().await?;
        sqlx::query(insert).bind(&self.direct).bind("late-").execute(&mut *late).await?;
        sqlx::query(insert).bind(&self.direct).bind("early-").execute(self.world.db.pool()).await?;
        let early = "select count(*) from mailroom.outbox
                      where event_type = 'late' and status = 'completed'";
        becomes("the later rows are published", 400, LATER, async || self.world.db.one::<i64>(early).await)
            .await?;
        Ok(late.commit().await?)
    }

    fn take(&mut self, worker: &str) -> Result<Host> {
        self.hosts.remove(worker).with_context(|| format!("host {worker} is not running"))
    }

    /// The live owner of a partition's lane.
    async fn owner_of(&self, partition: i32) -> Result<&'static str> {
        let owner = "select h.worker from mailroom.lane l join mailroom.host h on h.id = l.owner
                      where l.partition = $1 and h.expires_at >= clock_timestamp()";
        let owner: String = sqlx::query_scalar(owner).bind(partition).fetch_one(self.world.db.pool()).await?;
        let known = self.hosts.keys().find(|worker| **worker == owner);
        known.copied().with_context(|| format!("host {owner} is none of ours"))
    }

    /// Counts how often a host has found that a lane is another's.
    fn refusals(&self, worker: &str) -> Result<usize> {
        let host = self.hosts.get(worker).context("the host is not running")?;
        Ok(host.log()?.matches("is another host's now").count())
    }

    async fn signal(&self, worker: &str, signal: &str) -> Result<()> {
        let pid = self.hosts.get(worker).context("the host is not running")?.pid()?;
        let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().await?;
        ensure!(sent.success(), "could not send SIG{signal} to host {worker}");
        Ok(())
    }
}
