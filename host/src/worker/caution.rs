//! A worker and its handler's circuit breaker: what it may start, and what it tells the other hosts. An operator's
//! pause goes before it.

use std::future::Future;
use std::pin::Pin;

use tokio::time::Instant;

use mailroom_core::time::Moment;

use crate::clock;
use crate::config::BreakerPolicy;
use crate::db::{Db, DbError, breakers};
use crate::outage::Outage;
use crate::pipeline::breaker::{Breaker, Move, Sign};
use crate::pipeline::outcome::{End, Outcome};
use crate::sweep::Breakers;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The breaker's row is as we left it.
    Written,
    /// Whether the probe is ours.
    Probe(bool),
}

type Telling = Pin<Box<dyn Future<Output = Result<Told, DbError>> + Send>>;

/// The breaker, and what is being written about it.
pub(super) struct Caution {
    db: Db,
    group: String,
    worker: String,
    breaker: Breaker,
    /// Until a first look tells otherwise nothing is started.
    paused: bool,
    telling: Option<Telling>,
    /// Looks at the table that began before then know less than we do.
    told_at: Instant,
    /// What is to be written again, since Postgres was away.
    untold: Option<(Move, String)>,
    not_before: Instant,
    outage: Outage,
}

impl Caution {
    pub(super) fn new(db: Db, group: &str, worker: &str) -> Self {
        let now = Instant::now();
        Self {
            outage: db.outage(),
            db,
            group: group.to_owned(),
            worker: worker.to_owned(),
            breaker: Breaker::closed(),
            paused: true,
            telling: None,
            told_at: now,
            untold: None,
            not_before: now,
        }
    }

    /// How many more calls may start while `running` run.
    pub(super) fn room(&self, policy: BreakerPolicy, running: usize) -> usize {
        if self.paused { 0 } else { self.breaker.room(policy, running) }
    }

    /// When to go on though nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let probe_at = || self.breaker.probe_at().map(instant_of).filter(|_| !self.paused);
        let at = if self.untold.is_some() { Some(self.not_before) } else { probe_at() };
        at.filter(|_| self.telling.is_none()).map(|at| at.max(self.not_before))
    }

    /// A call ended.
    pub(super) fn ended(&mut self, end: &End, policy: BreakerPolicy) {
        let (sign, error) = match end {
            End::Decided(Outcome::Completed | Outcome::Skipped(_) | Outcome::Rejected(_)) => {
                (Sign::Good, None)
            }
            End::Faulted(fault) => (Sign::Fault, Some(fault)),
            End::Decided(Outcome::Retry { .. }) | End::Unavailable(_) | End::NotCalled(_) => {
                (Sign::None, None)
            }
        };
        let error = error.map_or_else(String::new, ToString::to_string);
        match self.breaker.ended(sign, policy, clock::now()) {
            Move::Stay => {}
            Move::Open => {
                let (group, recovery) = (&self.group, policy.recovery);
                tracing::warn!(
                    messaging.consumer.group.name = %group,
                    "The breaker of {group} is open for {recovery:?}: nothing of it is started. Last fault: {error}"
                );
                self.untold = Some((Move::Open, error));
            }
            Move::Close => {
                tracing::info!(messaging.consumer.group.name = %self.group, "The breaker of {} is closed", self.group);
                self.untold = Some((Move::Close, String::new()));
            }
        }
        self.tell(policy, false);
    }

    /// Writes what is to be written; with `wanted`, asks for the probe where it is time for one.
    pub(super) fn tell(&mut self, policy: BreakerPolicy, wanted: bool) {
        let now = Instant::now();
        if self.telling.is_some() || now < self.not_before {
            return;
        }
        let (db, group, worker) = (self.db.clone(), self.group.clone(), self.worker.clone());
        if let Some((change, error)) = self.untold.clone() {
            self.telling = Some(Box::pin(async move {
                if change == Move::Open {
                    breakers::open(&db, &group, policy.recovery, &worker, &error).await?;
                } else {
                    breakers::close(&db, &group).await?;
                }
                Ok(Told::Written)
            }));
        } else if wanted && !self.paused && self.breaker.probe_at().is_some_and(|at| at <= clock::now()) {
            self.telling = Some(Box::pin(async move {
                Ok(Told::Probe(breakers::claim_probe(&db, &group, policy.recovery).await?))
            }));
        }
    }

    /// Waits until something was written. Cancel safe.
    pub(super) async fn told(&mut self) -> Result<Told, DbError> {
        match &mut self.telling {
            Some(telling) => {
                let told = telling.await;
                self.telling = None;
                told
            }
            None => std::future::pending().await,
        }
    }

    /// Takes what came of writing.
    pub(super) fn take(&mut self, told: Result<Told, DbError>, policy: BreakerPolicy) {
        let now = Instant::now();
        match told {
            Ok(Told::Written) => {
                self.untold = None;
                self.told_at = now;
            }
            Ok(Told::Probe(true)) => {
                self.breaker.probe();
                self.told_at = now;
            }
            // Another host probes, or the row is gone: a look will tell.
            Ok(Told::Probe(false)) => self.not_before = now + policy.recovery / 4,
            Err(error) => self.not_before = now + self.outage.failed(&error),
        }
    }

    /// Takes what a look at the tables saw.
    pub(super) fn learned(&mut self, seen: &Breakers) {
        let paused = seen.paused.contains(&self.group);
        if paused && !self.paused {
            tracing::info!(messaging.consumer.group.name = %self.group, "{} is paused: nothing of it is started", self.group);
        }
        self.paused = paused;
        if self.telling.is_none() && self.untold.is_none() && seen.looked_at > self.told_at {
            self.breaker.learned(seen.open.get(&self.group).copied().map(moment_of));
        }
    }
}

fn instant_of(moment: Moment) -> Instant {
    Instant::now() + moment.since(clock::now())
}

fn moment_of(instant: Instant) -> Moment {
    clock::now() + instant.saturating_duration_since(Instant::now())
}
