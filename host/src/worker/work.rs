//! The worker's turns: calls, verdicts, settlements.

mod beginning;
mod calling;
mod ending;
mod fed;
mod room;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::call::Called;
use super::calls::Calls;
use super::caution::{Caution, Told};
use super::decisions::Decisions;
use super::fresh::FreshBatches;
use super::holding::Done;
use super::queues::Queues;
use super::settling::{Ended, Settler};
use super::{Feed, Worker};
use crate::db::{DbError, lanes};
use crate::lane::Lease;
use crate::outage::Outage;
use crate::settle::Whose;
use beginning::Begun;

/// Transactions of a handler that settle at once, each of lanes of its own.
pub(super) const SETTLEMENTS_MAX: usize = 3;
/// So long after one was started another is started for few messages only where none is under way.
const SETTLE_APART: Duration = Duration::from_millis(10);

/// How often a host that may not start anything looks again.
const RECHECK: Duration = Duration::from_millis(50);

pub(super) type Work_<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Something that happened.
pub(super) enum Step {
    Fed(Option<Feed>),
    Called(Vec<Called>),
    Settled(Box<Ended>),
    /// Something was written about the breaker.
    Told(Result<Told, DbError>),
    /// A look at the breakers.
    Looked,
    Held(Done),
    /// It was noted that messages are begun.
    Begun(Result<Vec<(i32, i64)>, DbError>),
    Due,
}

/// The worker at work.
pub(super) struct Work {
    worker: Worker,
    settler: Settler,
    leases: HashMap<i32, Lease>,
    topics: HashMap<i32, Arc<str>>,
    queues: Queues,
    caution: Caution,
    calls: Calls,
    /// Records that have no row yet.
    fresh: FreshBatches,
    /// Decided, with rows of their own, and waiting for the settlement under way to end.
    decided: Decisions,
    settling: FuturesUnordered<Work_<Ended>>,
    /// Lanes of what is being settled: of each, one settlement at a time.
    busy: HashSet<i32>,
    /// Until then few messages do not make another settlement beside those under way.
    settle_apart: Instant,
    /// Rows that are being held or let go.
    holding: Option<Work_<Done>>,
    hold_after: Instant,
    /// Up to where messages are noted as begun.
    begun: Begun,
    outage: Outage,
    stopping: bool,
}

impl Work {
    pub(super) fn new(worker: Worker) -> Self {
        let settler = Settler {
            db: worker.db.clone(),
            of: Whose {
                handler: Arc::from(worker.handler.name.as_str()),
                group: Arc::clone(&worker.handler.group),
                host: Arc::from(worker.config.host.worker.as_str()),
                behind_dead: worker.handler.current().manifest().behind_dead,
                dead_letters: worker.handler.current().manifest().dead_letter_topic.clone(),
            },
            policy: worker.handler.current().manifest().retry,
        };
        let caution =
            Caution::new(worker.db.clone(), &worker.handler.group, worker.config.host.worker.as_str());
        Self {
            outage: worker.db.outage(),
            calls: Calls::new(worker.guests.clone(), worker.db.clone()),
            worker,
            settler,
            leases: HashMap::new(),
            topics: HashMap::new(),
            holding: None,
            hold_after: Instant::now(),
            begun: Begun::default(),
            queues: Queues::default(),
            caution,
            fresh: FreshBatches::default(),
            decided: Decisions::default(),
            settling: FuturesUnordered::new(),
            busy: HashSet::new(),
            settle_apart: Instant::now(),
            stopping: false,
        }
    }

    /// Waits for the next thing to happen. Cancel safe.
    pub(super) async fn next(&mut self) -> Step {
        let due = [self.queues.next_due(), self.caution.due(), self.settle_due()].into_iter().flatten().min();
        let due = due.unwrap_or_else(|| Instant::now() + RECHECK * 4);
        // While the host may not start anything, or a key becomes due, look again soon.
        let due = due.max(Instant::now() + Duration::from_millis(1));
        tokio::select! {
            biased;
            Some(ended) = self.settling.next(), if !self.settling.is_empty() => Step::Settled(Box::new(ended)),
            called = self.calls.ended(), if !self.calls.is_empty() => Step::Called(called),
            done = wait(&mut self.holding) => Step::Held(done),
            begun = wait(&mut self.begun.noting) => Step::Begun(begun),
            told = self.caution.told() => Step::Told(told),
            Ok(()) = self.worker.breakers.changed() => Step::Looked,
            feed = self.worker.feed.recv(), if !self.stopping => Step::Fed(feed),
            () = tokio::time::sleep_until(due) => Step::Due,
        }
    }

    /// When to look whether another settlement starts, though nothing happens.
    fn settle_due(&self) -> Option<Instant> {
        let decided = (self.decided.free(&self.busy) > 0).then(Instant::now);
        let due = self.fresh.next_due(&self.busy).into_iter().chain(decided).min();
        due.filter(|_| self.settling.len() < SETTLEMENTS_MAX)
            .map(|due| if self.settling.is_empty() { due } else { due.max(self.settle_apart) })
    }

    /// Takes what happened, and starts what can be started now.
    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Fed(Some(feed)) => self.fed(feed),
            // Ingest has ended: what is in hand is worked off until the stop.
            Step::Fed(None) => self.stopping = true,
            Step::Called(called) => called.into_iter().for_each(|called| self.called(called)),
            Step::Settled(ended) => self.settled(*ended),
            Step::Told(told) => self.caution.take(told, self.breaker_policy()),
            Step::Looked => self.caution.learned(&self.worker.breakers.borrow_and_update()),
            Step::Held(done) => self.held(done),
            Step::Begun(begun) => self.noted(begun),
            Step::Due => {}
        }
        self.drop_lost();
        self.queues.tick(Instant::now());
        self.start_calls();
        self.start_settling();
        self.worker.in_hand.remove(self.queues.take_shed());
        self.start_holding();
        self.release_closed();
    }

    /// Lanes that are another's: everything in hand of them is dropped.
    fn drop_lost(&mut self) {
        let lost: Vec<i32> =
            self.leases.values().filter(|lease| lease.is_lost()).map(|lease| lease.lane).collect();
        for lane in lost {
            self.leases.remove(&lane);
            self.begun.forget(lane);
            self.decided.forget(lane);
            self.worker.in_hand.remove(self.fresh.forget(lane));
            let dropped = self.queues.forget(lane);
            self.worker.in_hand.remove(dropped);
        }
    }

    /// Gives back lanes that were to be closed and have nothing under way.
    fn release_closed(&mut self) {
        if !self.queues.is_closing() {
            return;
        }
        let (closed, dropped) = self.queues.closed(self.fresh.lanes());
        self.worker.in_hand.remove(dropped);
        let closed: Vec<Lease> = closed.into_iter().filter_map(|lane| self.leases.remove(&lane)).collect();
        if closed.is_empty() {
            return;
        }
        let db = self.worker.db.clone();
        self.settling.push(Box::pin(async move {
            release(&db, &closed).await;
            Ended::default()
        }));
    }

    /// Ends after a stop: what runs is awaited and settled within the grace; then all lanes are given back.
    pub(super) async fn finish(mut self) {
        self.stopping = true;
        self.fresh.hurry(None);
        let deadline = Instant::now() + self.worker.config.host.calls_grace();
        while !self.calls.is_empty()
            || !self.settling.is_empty()
            || !self.decided.is_empty()
            || !self.fresh.is_empty()
        {
            self.start_settling();
            tokio::select! {
                step = self.next() => match step {
                    Step::Called(called) => called.into_iter().for_each(|called| self.called(called)),
                    Step::Settled(ended) => self.settled(*ended),
                    Step::Told(told) => self.caution.take(told, self.breaker_policy()),
                    Step::Fed(_) | Step::Looked | Step::Held(_) | Step::Begun(_) | Step::Due => {}
                },
                () = tokio::time::sleep_until(deadline) => {
                    tracing::warn!(handler.name = %self.settler.of.handler, "Calls did not end within the grace; their messages stay pending");
                    break;
                }
            }
        }
        let leases: Vec<Lease> = self.leases.into_values().collect();
        release(&self.worker.db, &leases).await;
    }
}

async fn release(db: &crate::db::Db, leases: &[Lease]) {
    let (ids, tokens): (Vec<i32>, Vec<i64>) = leases.iter().map(|lease| (lease.lane, lease.token)).unzip();
    if let Err(error) = lanes::release(db, &ids, &tokens).await {
        tracing::warn!(%error, "Lanes were not given back; the sweep does it later");
    }
    leases.iter().for_each(Lease::lose);
}

/// Polls work under way; for ever pending where there is none.
async fn wait<T>(slot: &mut Option<Work_<T>>) -> T {
    match slot {
        Some(future) => {
            let done = future.await;
            *slot = None;
            done
        }
        None => std::future::pending().await,
    }
}
