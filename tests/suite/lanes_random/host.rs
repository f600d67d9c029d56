//! A host that follows the protocol of lanes, and stalls now and then: alive, owning, ingesting, settling.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, Transaction};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::{EXPIRY, Game, HOSTS, PARTITIONS};

/// Length of a stall in seconds: about an expiry and more.
const STALL_SECS: std::ops::Range<f64> = 0.1..0.5;
/// Number of deaths of its owners that are counted against a message that never ran alone.
const CRASHES_MAX: i32 = 2;

/// A message in memory.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) seq: i64,
    pub(super) okey: Option<i64>,
    pub(super) id: String,
    pub(super) offset: i64,
    pub(super) deliveries: i32,
    pub(super) due: Instant,
}

/// A lane that this host believes to own.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) token: i64,
    pub(super) partition: i32,
    /// Place up to which its rows were read.
    pub(super) mark: i64,
    /// True if more may lie in the table.
    pub(super) backlog: bool,
    /// Epoch and next offset, once the offset row was taken over.
    pub(super) position: Option<(i64, i64)>,
    pub(super) queue: BTreeMap<i64, Message>,
}

/// One host.
pub(super) struct Host<'g> {
    pub(super) game: &'g Game<'g>,
    pub(super) rng: fastrand::Rng,
    pub(super) lanes: BTreeMap<i32, Lane>,
    id: Uuid,
    renewed: Instant,
}

impl<'g> Host<'g> {
    pub(super) async fn new(game: &'g Game<'g>, seed: u64) -> Result<Self> {
        let rng = fastrand::Rng::with_seed(seed);
        let mut host = Self { game, rng, lanes: BTreeMap::new(), id: Uuid::nil(), renewed: Instant::now() };
        host.register().await?;
        Ok(host)
    }

    /// Plays until everything is settled.
    pub(super) async fn play(mut self) -> Result<()> {
        while !self.game.is_over().await? {
            if self.renewed.elapsed() > EXPIRY / 4 {
                self.beat().await?;
            }
            self.take_free().await?;
            for lane in self.lanes.keys().copied().collect::<Vec<_>>() {
                self.ingest(lane).await?;
                self.read(lane).await?;
            }
            self.settle().await?;
            if self.rng.u32(..100) < 2 {
                self.release().await?;
            }
        }
        self.depart().await
    }

    async fn register(&mut self) -> Result<()> {
        self.id = Uuid::new_v4();
        self.lanes.clear();
        self.renewed = Instant::now();
        sqlx::query(AssertSqlSafe(self.game.statements.register.as_str()))
            .bind(self.id)
            .bind("random")
            .bind("0")
            .bind(false)
            .bind(EXPIRY.as_secs_f64())
            .execute(self.game.pool)
            .await?;
        Ok(())
    }

    /// The heartbeat; a host that finds itself buried begins a new life.
    async fn beat(&mut self) -> Result<()> {
        let renewed = sqlx::query(AssertSqlSafe(self.game.statements.renew.as_str()))
            .bind(self.id)
            .bind(EXPIRY.as_secs_f64())
            .bind(serde_json::json!([]))
            .execute(self.game.pool)
            .await?;
        if renewed.rows_affected() == 0 {
            self.game.count(|counts| counts.burials += 1);
            return self.register().await;
        }
        self.renewed = Instant::now();
        let bury = sqlx::query(AssertSqlSafe(self.game.statements.bury.as_str()));
        // All whose expiry has passed, whatever they are called.
        bury.bind(self.id).bind("random").bind(true).execute(self.game.pool).await?;
        Ok(())
    }

    /// Takes lanes without a live owner, one more than its share at most.
    async fn take_free(&mut self) -> Result<()> {
        let share = PARTITIONS.div_ceil(HOSTS) + 1;
        if self.lanes.len() >= share {
            return Ok(());
        }
        let wanted: Vec<i32> =
            self.game.lanes.keys().copied().filter(|lane| !self.lanes.contains_key(lane)).collect();
        let statements = &self.game.statements;
        let mut tx = self.game.pool.begin().await?;
        let alive = sqlx::query(AssertSqlSafe(statements.alive.as_str())).bind(self.id);
        if alive.fetch_optional(&mut *tx).await?.is_none() {
            return Ok(());
        }
        let free = sqlx::query(AssertSqlSafe(statements.free.as_str())).bind(&wanted).bind(self.id);
        let mut free: Vec<(i32, Option<Uuid>)> =
            free.fetch_all(&mut *tx).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
        free.truncate(share - self.lanes.len());
        let ids: Vec<i32> = free.iter().map(|(lane, _)| *lane).collect();
        // From others: nothing is in doubt.
        let taken = sqlx::query(AssertSqlSafe(statements.take.as_str())).bind(&ids).bind(self.id).bind(false);
        let taken: Vec<(i32, i64)> =
            taken.fetch_all(&mut *tx).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
        let abandoned = free.iter().filter_map(|(lane, dead)| Some((*lane, (*dead)?)));
        let (abandoned, dead): (Vec<i32>, Vec<Uuid>) = abandoned.unzip();
        if !abandoned.is_empty() {
            let lost = sqlx::query(AssertSqlSafe(statements.abandoned.as_str())).bind(&abandoned);
            lost.bind(CRASHES_MAX).bind(&dead).bind(0.0_f64).execute(&mut *tx).await?;
        }
        self.stall(&mut tx).await?;
        tx.commit().await?;
        self.game.count(|counts| counts.take_overs += abandoned.len());
        for (lane, token) in taken {
            let partition = self.game.lanes.get(&lane).copied().unwrap_or_default();
            let queue = BTreeMap::new();
            self.lanes.insert(lane, Lane { token, partition, mark: 0, backlog: true, position: None, queue });
        }
        Ok(())
    }

    /// Gives all lanes back, with nothing under way.
    async fn release(&mut self) -> Result<()> {
        let (lanes, tokens): (Vec<i32>, Vec<i64>) =
            self.lanes.iter().map(|(lane, of)| (*lane, of.token)).unzip();
        self.lanes.clear();
        sqlx::query(AssertSqlSafe(self.game.statements.release.as_str()))
            .bind(lanes)
            .bind(tokens)
            .bind("nobody_listens")
            .execute(self.game.pool)
            .await?;
        Ok(())
    }

    async fn depart(mut self) -> Result<()> {
        self.release().await?;
        sqlx::query("delete from mailroom.host where id = $1").bind(self.id).execute(self.game.pool).await?;
        Ok(())
    }

    /// Tells whether the lanes are ours, and stay so until the end of the transaction.
    pub(super) async fn fence(&self, tx: &mut Transaction<'static, Postgres>, lanes: &[i32]) -> Result<bool> {
        let tokens: Vec<i64> = lanes.iter().filter_map(|lane| Some(self.lanes.get(lane)?.token)).collect();
        ensure!(tokens.len() == lanes.len(), "a lane is used that was let go");
        let ours = sqlx::query(AssertSqlSafe(self.game.statements.fence.as_str()))
            .bind(lanes)
            .bind(tokens)
            .fetch_all(&mut **tx)
            .await?;
        let ours = ours.len() == lanes.len();
        if !ours {
            self.game.count(|counts| counts.refused += 1);
        }
        Ok(ours)
    }

    /// Does nothing for a while now and then, whatever is open.
    pub(super) async fn stall(&mut self, connection: &mut PgConnection) -> Result<()> {
        if self.rng.u32(..80) < 1 {
            let secs = STALL_SECS.start + self.rng.f64() * (STALL_SECS.end - STALL_SECS.start);
            sqlx::query("select pg_sleep($1)").bind(secs).execute(connection).await?;
        }
        Ok(())
    }

    /// Returns when a message with this delay is due.
    pub(super) fn due(delay_secs: f64) -> Instant {
        Instant::now() + Duration::from_secs_f64(delay_secs)
    }
}
