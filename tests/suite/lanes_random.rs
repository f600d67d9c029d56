//! The protocol of lanes on the database alone: several hosts issue the product's own statements, retry, fail,
//! stall past their expiry, take over from each other, and settle late. A run prints its seed, and
//! `MAILROOM_LANES_SEED` repeats it, as far as the database's timing allows.

mod host;
mod statements;
mod work;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use mailroom_tests::{Setup, World, in_world};
use sqlx::{AssertSqlSafe, PgPool};

use host::Host;
use statements::Statements;

const HOSTS: usize = 3;
const PARTITIONS: usize = 4;
const RECORDS: usize = 800;
/// Keys of a partition; one of them has a fifth of the records.
const KEYS: i64 = 20;
const SEEDS: u64 = 3;
const EXPIRY: Duration = Duration::from_millis(150);
const TOPIC: &str = "random";

/// Counts of what the test is about.
#[derive(Debug, Default)]
struct Counts {
    burials: usize,
    take_overs: usize,
    refused: usize,
}

/// Parts that the hosts of one seed share: the database, and the log that stands for Kafka.
struct Game<'g> {
    pool: &'g PgPool,
    statements: Statements,
    group: String,
    /// The key of each record, by partition.
    logs: Vec<Vec<Option<i64>>>,
    /// The partition of each lane.
    lanes: BTreeMap<i32, i32>,
    counts: RefCell<Counts>,
    failures: RefCell<HashMap<String, i32>>,
}

#[test]
fn hosts_that_stall_and_settle_late_share_lanes_without_loss_repeat_or_disorder() {
    in_world(Setup::default(), async |world| {
        let first = match env::var_os("MAILROOM_LANES_SEED") {
            Some(seed) => seed.to_string_lossy().parse().context("MAILROOM_LANES_SEED should be a number")?,
            None => fastrand::u64(..1 << 32),
        };
        for seed in first..first + SEEDS {
            play(world, seed).await.with_context(|| format!("MAILROOM_LANES_SEED={seed}"))?;
        }
        Ok(())
    });
}

async fn play(world: &World, seed: u64) -> Result<()> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let game = Game::new(world.db.pool(), seed, &mut rng).await?;
    let mut hosts = Vec::new();
    for _ in 0..HOSTS {
        hosts.push(Host::new(&game, rng.u64(..)).await?);
    }
    try_join_all(hosts.into_iter().map(Host::play)).await?;
    eprintln!("MAILROOM_LANES_SEED={seed}: {:?}", game.counts.borrow());
    game.check(world).await
}

impl<'g> Game<'g> {
    async fn new(pool: &'g PgPool, seed: u64, rng: &mut fastrand::Rng) -> Result<Self> {
        let statements = Statements::read()?;
        let group = format!("random-{seed}");
        let mut key = |partition: usize| -> Option<i64> {
            let number = match rng.u32(..100) {
                0..5 => return None,
                5..25 => 0,
                _ => rng.i64(1..KEYS),
            };
            Some(i64::try_from(partition).unwrap_or(0) * KEYS + number)
        };
        let logs: Vec<Vec<Option<i64>>> =
            (0..PARTITIONS).map(|partition| (0..RECORDS).map(|_| key(partition)).collect()).collect();
        let partitions: Vec<i32> = (0..).take(PARTITIONS).collect();
        let open = sqlx::query(AssertSqlSafe(statements.open.as_str()));
        open.bind(&group).bind(vec![TOPIC; PARTITIONS]).bind(partitions).execute(pool).await?;
        let lanes = sqlx::query_as("select id, partition from mailroom.lane where consumer_group = $1");
        let lanes: Vec<(i32, i32)> = lanes.bind(&group).fetch_all(pool).await?;
        Ok(Self {
            pool,
            statements,
            group,
            logs,
            lanes: lanes.into_iter().collect(),
            counts: RefCell::default(),
            failures: RefCell::default(),
        })
    }

    fn log(&self, partition: i32) -> &[Option<i64>] {
        usize::try_from(partition)
            .ok()
            .and_then(|partition| self.logs.get(partition))
            .map_or(&[], Vec::as_slice)
    }

    fn message_id(&self, partition: i32, offset: i64) -> String {
        format!("{}:{partition}:{offset}", self.group)
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.counts.borrow_mut());
    }

    /// A retry of this message was committed.
    fn failed(&self, id: &str) {
        *self.failures.borrow_mut().entry(id.to_owned()).or_default() += 1;
    }

    async fn is_over(&self) -> Result<bool> {
        let over = "select count(*) = $2 and bool_and(status <> 'pending') from mailroom.inbox
                     where consumer_group = $1";
        let all = i64::try_from(PARTITIONS * RECORDS)?;
        let over: Option<bool> =
            sqlx::query_scalar(over).bind(&self.group).bind(all).fetch_one(self.pool).await?;
        Ok(over == Some(true))
    }

    /// Checks what must be true at the end.
    async fn check(&self, world: &World) -> Result<()> {
        let Counts { burials, take_overs, refused } = *self.counts.borrow();
        ensure!(burials > 0 && take_overs > 0 && refused > 0, "nothing of what is tested happened");
        let rows = "select message_id, status, attempts_made from mailroom.inbox where consumer_group = $1";
        let rows: Vec<(String, String, i32)> =
            sqlx::query_as(rows).bind(&self.group).fetch_all(self.pool).await?;
        for (id, _, attempts_made) in &rows {
            let failures = self.failures.borrow().get(id).copied().unwrap_or(0);
            ensure!(failures == *attempts_made, "{id} failed {failures} times, its row says {attempts_made}");
        }
        let behind =
            "select count(*) from mailroom.partition_offset where consumer_group = $1 and next_offset <> $2";
        let behind = sqlx::query_scalar::<_, i64>(behind).bind(&self.group).bind(i64::try_from(RECORDS)?);
        ensure!(behind.fetch_one(self.pool).await? == 0, "an offset is not at the end of its log");
        let emitted = "select causation_id, convert_from(key, 'UTF8'), convert_from(payload, 'UTF8')::bigint
                         from mailroom.outbox where causation_id like $1 || ':%' order by seq";
        let emitted = sqlx::query_as(emitted).bind(&self.group);
        let emitted: Vec<(String, Option<String>, i64)> = emitted.fetch_all(world.db.pool()).await?;
        let mut effects: HashMap<&str, usize> = HashMap::new();
        let mut last: HashMap<&str, i64> = HashMap::new();
        for (cause, key, offset) in &emitted {
            *effects.entry(cause).or_default() += 1;
            let Some(key) = key else { continue };
            let before = last.insert(key, *offset).unwrap_or(-1);
            ensure!(before < *offset, "key {key}: offset {offset} came after {before}");
        }
        for (id, status, _) in &rows {
            let effects = effects.get(id.as_str()).copied().unwrap_or(0);
            ensure!(
                effects == usize::from(status == "completed"),
                "{id} is {status} and emitted {effects} times"
            );
        }
        Ok(())
    }
}
