//! A host with a neighbour at work in it, beside which hostile guests are dropped and called. The host goes on as
//! the same process within its memory, and the neighbour completes every one of its messages at its first attempt.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::wat::Core;
use mailroom_tests::{Host, Load, Manifest, Message, SOON, World, becomes, eventually, guest};
use serde_json::Value;
use tokio::try_join;

/// Pause between two messages of the neighbour.
const PACE: Duration = Duration::from_millis(20);
/// Bytes by which the host's memory may rise above that of a host at work: the largest calls that coincide,
/// with what they make the host copy, and what the pool keeps resident of its memories, 8 MiB each.
const PEAK_BYTES_MAX: u64 = 384 << 20;
/// Bytes of it that may stay: what the pool keeps.
const KEPT_BYTES_MAX: u64 = 256 << 20;

pub(super) struct Stage<'w> {
    pub(super) world: &'w World,
}

/// A hostile guest and the message that it gets.
pub(super) struct Hostile<'h> {
    /// Name of its handler.
    pub(super) name: &'h str,
    pub(super) guest: Guest<'h>,
    /// Lines of its manifest, `grants.…` among them. It has two attempts, and one call at a time: a worker that were lost would be missed.
    pub(super) manifest: Vec<&'h str>,
    /// Topics that it may publish to.
    pub(super) publishes: Vec<&'h str>,
    /// Origins that it may send requests to.
    pub(super) reaches: Vec<&'h str>,
    pub(super) payload: Value,
}

pub(super) enum Guest<'h> {
    /// A built one, which does what its message says.
    Built(&'h str),
    /// One that does the same with every message.
    Core(Core<'h>),
}

/// End of its message.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Ending {
    pub(super) status: String,
    pub(super) failed_reason: Option<String>,
    pub(super) attempts_made: i32,
    /// Faults of the failed attempts, one each.
    pub(super) faults: Vec<String>,
    /// The dead letter's fault.
    pub(super) letter: Option<String>,
}

const ENDING: &str = "select i.status, i.failed_reason, i.attempts_made, d.fault as letter,
            array(select coalesce(a.fault, 'none') from mailroom.attempt a
                   where a.lane = i.lane and a.seq = i.seq order by a.delivery) as faults
       from mailroom.inbox i left join mailroom.dead_letter d on d.message = i.id
      where i.message_id = $1 and i.status <> 'pending'";

impl Stage<'_> {
    /// Runs `acts` while the neighbour is at work, and looks whether all is well afterwards. `env` goes over the
    /// host's configuration.
    pub(super) async fn with(
        world: &World,
        env: &[(&str, &str)],
        acts: impl AsyncFnOnce(&Stage<'_>) -> Result<()>,
    ) -> Result<()> {
        let (input, output) =
            (world.kafka.topic("neighbour-in", 2).await?, world.kafka.topic("neighbour-out", 2).await?);
        let manifest = Manifest::takes(&[&input]).publishes(&[&output]);
        world.drop_handler("neighbour", "scripted", &manifest)?;
        let mut host = world.start_host_with("a", env)?;
        let (pid, load) = (host.pid()?, Load::new(&world.kafka, &input, &output).every(PACE));
        let play = async {
            let at_work = async || Ok(world.db.completed().await? >= 10);
            eventually("the neighbour is at work", SOON, at_work).await?;
            let before = host.resident_bytes()?;
            acts(&Stage { world }).await?;
            load.stop();
            anyhow::Ok(before)
        };
        let ((), before) = try_join!(load.run(), play)?;

        neighbour_is_well(world, &load, &output).await?;
        host.still_runs()?;
        ensure!(host.pid()? == pid, "the host is another process");
        memory_is_bounded(&host, before)?;
        host.stop().await?;
        Ok(())
    }

    /// Drops the guest, sends its message, waits for its end, and for that of another message behind it.
    pub(super) async fn run(&self, hostile: &Hostile<'_>) -> Result<Ending> {
        let Hostile { name, guest, payload, .. } = hostile;
        let input = self.world.kafka.topic(name, 1).await?;
        let manifest = hostile.manifest(&input);
        match guest {
            Guest::Built(built) => self.world.drop_handler(name, built, &manifest)?,
            Guest::Core(core) => self.drop_core(name, &core.component()?, Some(&manifest))?,
        }
        let message = Message::to(&input).key("k").id(name).json(payload);
        self.world.kafka.send(&message).await.with_context(|| format!("to {name}"))?;
        let ending = self.ending(name).await?;
        match guest {
            Guest::Built(_) => self.handles_another(name, &input).await?,
            Guest::Core(_) => self.is_mended(name, &input).await?,
        }
        Ok(ending)
    }

    /// Drops a component that is refused, and a good one in its place. Gives what is said against the first.
    /// Without a manifest the component's own subscriptions count.
    pub(super) async fn refused(
        &self,
        name: &str,
        component: &[u8],
        lines: Option<&[&str]>,
    ) -> Result<String> {
        let input = self.world.kafka.topic(name, 1).await?;
        let manifest = lines.map(|lines| with_lines(Manifest::takes(&[&input]), lines));
        self.drop_core(name, component, manifest.as_ref())?;
        let said = "select last_error from mailroom.handler where name = $1 and state = 'refused'";
        let mut refused = None;
        eventually(&format!("{name} is refused"), SOON, async || {
            let said = sqlx::query_scalar::<_, String>(said).bind(name);
            refused = said.fetch_optional(self.world.db.pool()).await?;
            Ok(refused.is_some())
        })
        .await?;
        self.is_mended(name, &input).await?;
        refused.context("nothing was said")
    }

    fn drop_core(&self, name: &str, component: &[u8], manifest: Option<&Manifest>) -> Result<()> {
        if let Some(manifest) = manifest {
            let path = self.world.folder().join(format!("handlers/{name}.toml"));
            std::fs::write(path, manifest.to_toml())?;
        }
        self.world.drop_component(name, component)
    }

    async fn ending(&self, message: &str) -> Result<Ending> {
        let mut ending = None;
        eventually(&format!("the message {message} has ended"), SOON, async || {
            let query = sqlx::query_as::<_, Ending>(ENDING).bind(message);
            ending = query.fetch_optional(self.world.db.pool()).await?;
            Ok(ending.is_some())
        })
        .await?;
        ending.context("it has no end")
    }

    /// A good component takes the place of `name`'s, and handles what comes.
    async fn is_mended(&self, name: &str, input: &str) -> Result<()> {
        self.world.drop_handler(name, "noop", &Manifest::takes(&[input]))?;
        let digest = self.world.db.digest_of(&guest("noop")?).await?;
        let running =
            "select count(*) from mailroom.handler where name = $1 and digest = $2 and state = 'running'";
        becomes(&format!("a good one runs in place of {name}"), 1, SOON, async || {
            let query = sqlx::query_scalar::<_, i64>(running).bind(name).bind(&digest);
            Ok(query.fetch_one(self.world.db.pool()).await?)
        })
        .await?;
        self.handles_another(name, input).await
    }

    async fn handles_another(&self, name: &str, input: &str) -> Result<()> {
        let id = format!("{name} afterwards");
        let another = Message::to(input).key("another").id(&id).payload("{}");
        self.world.kafka.send(&another).await?;
        let ending = self.ending(&id).await?;
        ensure!(ending.status == "completed" && ending.faults.is_empty(), "{id}: {ending:?}");
        Ok(())
    }
}

impl Hostile<'_> {
    fn manifest(&self, input: &str) -> Manifest {
        let own = ["concurrency = 1", "retry.attempts-max = 2", "retry.base = \"10ms\""];
        let manifest = Manifest::takes(&[input]).publishes(&self.publishes).http(&self.reaches);
        with_lines(with_lines(manifest, &own), &self.manifest)
    }
}

fn with_lines(manifest: Manifest, lines: &[&str]) -> Manifest {
    lines.iter().fold(manifest, |manifest, line| match line.strip_prefix("grants.") {
        Some(grant) => manifest.grants(grant),
        None => manifest.with(line),
    })
}

async fn neighbour_is_well(world: &World, load: &Load<'_>, output: &str) -> Result<()> {
    let sent = load.sent()?;
    let group = world.group("neighbour");
    let completed = "select count(*) from mailroom.inbox
                      where consumer_group = $1 and status = 'completed' and attempts_made = 0 and deliveries = 1";
    becomes("the neighbour completed all", sent, SOON, async || {
        let query = sqlx::query_scalar::<_, i64>(completed).bind(&group);
        Ok(query.fetch_one(world.db.pool()).await?)
    })
    .await?;
    becomes("the neighbour emitted all", sent, SOON, async || {
        Ok(i64::try_from(world.kafka.read_all(output).await?.len())?)
    })
    .await
}

fn memory_is_bounded(host: &Host, before: u64) -> Result<()> {
    let (peak, now) = (host.resident_bytes_peak()?, host.resident_bytes()?);
    let mebibytes = |bytes: u64| bytes >> 20;
    eprintln!(
        "memory in MiB: {} before, {} at most, {} now",
        mebibytes(before),
        mebibytes(peak),
        mebibytes(now)
    );
    ensure!(peak <= before + PEAK_BYTES_MAX, "{peak} bytes at most, {before} before");
    ensure!(now <= before + KEPT_BYTES_MAX, "{now} bytes now, {before} before");
    Ok(())
}
