//! The worker's turns: calls, verdicts, settlements.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::call::Ended;
use super::caution::{Caution, Told};
use super::entry::{Entry, Key, Order};
use super::holding::{Done, Job, ROWS_MAX};
use super::queues::{Queues, Started, Worth};
use super::settling::{Decided, Fate, Settler, wait_of};
use super::{Feed, Worker};
use crate::config::{BehindDead, BreakerPolicy};
use crate::db::{DbError, lanes};
use crate::lane::Lease;
use crate::outage::Outage;
use crate::pipeline::decide::{Budget, Cause, DeadReason, Verdict, decide};
use crate::pipeline::outcome::{Called, Usage};
use crate::settle::{Settlement, StateView, Whose};

/// A call must end this much before the host's own expiry, so that its settlement is still ours.
const SETTLE_MARGIN: Duration = Duration::from_millis(200);
/// How often a host that may not start anything looks again.
const RECHECK: Duration = Duration::from_millis(50);

type Work_<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Something that happened.
pub(super) enum Step {
    Fed(Option<Feed>),
    Called(Box<Ended>),
    Settled(Vec<Fate>),
    /// Something was written about the breaker.
    Told(Result<Told, DbError>),
    /// A look at the breakers.
    Looked,
    Held(Done),
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
    calls: FuturesUnordered<Work_<Ended>>,
    /// Decided and waiting for the settlement under way to end.
    decided: Vec<Decided>,
    settling: Option<Work_<Vec<Fate>>>,
    /// Rows that are being held or let go.
    holding: Option<Work_<Done>>,
    hold_after: Instant,
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
                behind_dead: worker.handler.current().manifest().behind_dead,
            },
            policy: worker.handler.current().manifest().retry,
        };
        let caution =
            Caution::new(worker.db.clone(), &worker.handler.group, worker.config.host.worker.as_str());
        Self {
            outage: worker.db.outage(),
            worker,
            settler,
            leases: HashMap::new(),
            topics: HashMap::new(),
            holding: None,
            hold_after: Instant::now(),
            queues: Queues::default(),
            caution,
            calls: FuturesUnordered::new(),
            decided: Vec::new(),
            settling: None,
            stopping: false,
        }
    }

    /// Waits for the next thing to happen. Cancel safe.
    pub(super) async fn next(&mut self) -> Step {
        let due = [self.queues.next_due(), self.caution.due()].into_iter().flatten().min();
        let due = due.unwrap_or_else(|| Instant::now() + RECHECK * 4);
        // While the host may not start anything, or a key becomes due, look again soon.
        let due = due.max(Instant::now() + Duration::from_millis(1));
        tokio::select! {
            biased;
            fates = wait(&mut self.settling) => Step::Settled(fates),
            Some(ended) = self.calls.next(), if !self.calls.is_empty() => Step::Called(Box::new(ended)),
            done = wait(&mut self.holding) => Step::Held(done),
            told = self.caution.told() => Step::Told(told),
            Ok(()) = self.worker.breakers.changed() => Step::Looked,
            feed = self.worker.feed.recv(), if !self.stopping => Step::Fed(feed),
            () = tokio::time::sleep_until(due) => Step::Due,
        }
    }

    /// Takes what happened, and starts what can be started now.
    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Fed(Some(feed)) => self.fed(feed),
            // Ingest has ended: what is in hand is worked off until the stop.
            Step::Fed(None) => self.stopping = true,
            Step::Called(ended) => self.called(*ended),
            Step::Settled(fates) => self.settled(fates),
            Step::Told(told) => self.caution.take(told, self.breaker_policy()),
            Step::Looked => self.caution.learned(&self.worker.breakers.borrow_and_update()),
            Step::Held(done) => self.held(done),
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

    fn fed(&mut self, feed: Feed) {
        match feed {
            Feed::Opened(lease, topic, standing) => {
                // What was in hand under an older lease of the lane is another life's.
                self.decided.retain(|decided| decided.key.lane != lease.lane);
                let stale = self.queues.forget(lease.lane);
                self.worker.in_hand.remove(stale);
                self.queues.open(lease.lane, &standing);
                self.topics.insert(lease.lane, topic);
                self.leases.insert(lease.lane, lease);
            }
            Feed::Messages(entries) => {
                let ordered = self.worker.handler.current().manifest().ordered;
                let refused = entries
                    .into_iter()
                    .filter_map(|entry| (!self.queues.push(entry, ordered)).then_some(()))
                    .count();
                self.worker.in_hand.remove(refused);
            }
            Feed::Reread(lane) => self.queues.reread(lane),
            Feed::CaughtUp { lane, blocked, as_of } => self.queues.caught_up(lane, &blocked, as_of),
            Feed::Closed(lanes) => {
                for lane in lanes {
                    let dropped = self.queues.close(lane);
                    self.worker.in_hand.remove(dropped);
                }
            }
        }
    }

    /// Lanes that are another's: everything in hand of them is dropped.
    fn drop_lost(&mut self) {
        let lost: Vec<i32> =
            self.leases.values().filter(|lease| lease.is_lost()).map(|lease| lease.lane).collect();
        for lane in lost {
            self.leases.remove(&lane);
            self.decided.retain(|decided| decided.key.lane != lane);
            let dropped = self.queues.forget(lane);
            self.worker.in_hand.remove(dropped);
        }
    }

    fn start_calls(&mut self) {
        if self.stopping {
            return;
        }
        let component = self.worker.handler.current();
        let manifest = component.manifest();
        // A call that could outlast this host's expiry might settle into another's lane.
        if !self.worker.session.outlasts(manifest.limits.deadline + SETTLE_MARGIN) {
            return;
        }
        let policy = manifest.breaker;
        self.caution.tell(policy, self.queues.has_ready());
        while self.calls.len() < manifest.concurrency && self.caution.room(policy, self.calls.len()) > 0 {
            let Some(started) = self.queues.start() else { return };
            if let Some(verdict) = without_call(&started) {
                self.block_behind(started.key, &verdict);
                let (key, call) = (started.key, started.call);
                let state = started.state.unwrap_or_else(|| self.view(&started.entry));
                if self.queues.ended(key, call) == Worth::Valid {
                    self.queues.decided(key, state, false);
                    self.decided.push(Decided::new(key, uncalled(started.entry, verdict)));
                }
                continue;
            }
            let fresh = self.view(&started.entry);
            let (guests, db, component) =
                (self.worker.guests.clone(), self.worker.db.clone(), Arc::clone(&component));
            self.calls.push(Box::pin(async move { guests.call(&db, component, started, fresh).await }));
        }
    }

    fn breaker_policy(&self) -> BreakerPolicy {
        self.worker.handler.current().manifest().breaker
    }

    fn view(&self, entry: &Entry) -> StateView {
        let group = Arc::clone(&self.worker.handler.group);
        StateView::new(Some(self.worker.db.clone()), group, entry.message.key.clone())
    }

    fn called(&mut self, ended: Ended) {
        let Ended { key, call, message, called } = ended;
        let requeue = |message, due| Entry { message, due, nonsense: None };
        match self.queues.ended(key, call) {
            Worth::Gone => return,
            Worth::Void => {
                self.queues.requeue(key, requeue(message, Instant::now()));
                return;
            }
            Worth::Valid => {}
        }
        let Called { end, outgoing, mut state, last_output, digest, usage } = called;
        let budget = Budget {
            attempts_made: message.attempts_made,
            attempts_max: message.attempts_max,
            deliveries: message.deliveries,
        };
        self.caution.ended(&end, self.breaker_policy());
        let verdict = decide(end, budget, &self.worker.handler.current().manifest().retry, fastrand::f64());
        self.tell(&message, &verdict);
        if let Verdict::Again { delay, .. } = verdict {
            // As it was before the call: with what earlier messages of the key wrote.
            self.queues.keep(key, state);
            self.queues.requeue(key, requeue(message, Instant::now() + delay));
            return;
        }
        let completed = verdict == Verdict::Completed;
        let writes = if completed { state.take_writes() } else { Vec::new() };
        let outgoing = if completed { outgoing } else { Vec::new() };
        let retry = matches!(verdict, Verdict::Retry { .. });
        self.block_behind(key, &verdict);
        self.queues.decided(key, state, retry);
        let digest = Some(digest);
        let settlement = Settlement { message, verdict, digest, outgoing, writes, last_output, usage };
        self.decided.push(Decided::new(key, settlement));
    }

    /// Behind a dead message the key goes on only where the handler lets it.
    fn block_behind(&mut self, key: Key, verdict: &Verdict) {
        let policy = self.worker.handler.current().manifest().behind_dead;
        let dies = matches!(verdict, Verdict::Dead { reason, .. } if *reason != DeadReason::Parked);
        if dies && policy != BehindDead::Skip && matches!(key.order, Order::Key(_)) {
            self.queues.block(key, policy == BehindDead::Park);
        }
    }

    /// Holds what memory has no room for, else lets go of what it has room for.
    fn start_holding(&mut self) {
        if self.holding.is_some() || self.stopping || Instant::now() < self.hold_after {
            return;
        }
        let job = if let Some((lane, rows)) = self.queues.next_hold(ROWS_MAX) {
            self.leases.get(&lane).map(|lease| Job::Hold { lease: lease.clone(), rows })
        } else {
            self.queues.next_let_go().and_then(|(key, seq_max)| {
                let (lease, topic) =
                    (self.leases.get(&key.lane)?.clone(), Arc::clone(self.topics.get(&key.lane)?));
                Some(Job::LetGo { lease, topic, group: Arc::clone(&self.worker.handler.group), key, seq_max })
            })
        };
        if let Some(job) = job {
            self.holding = Some(Box::pin(job.run(self.worker.db.clone())));
        }
    }

    fn held(&mut self, done: Done) {
        match done {
            Done::Held => self.outage.over(),
            Done::Lost(lease) => lease.lose(),
            Done::LetGo { key, seq_max, found } => {
                self.outage.over();
                let all = found.len() < ROWS_MAX;
                let freed = found
                    .into_iter()
                    .filter_map(|of| self.queues.push_freed(key, Entry::found(of)).then_some(()));
                let freed = freed.count();
                self.worker.in_hand.add(freed);
                self.queues.let_go(key, seq_max, all);
            }
            Done::Failed(job, error) => {
                self.hold_after = Instant::now() + self.outage.failed(&error);
                if let Job::Hold { lease, rows } = job {
                    self.queues.hold_again(lease.lane, rows);
                }
            }
        }
    }

    fn tell(&self, message: &crate::message::Message, verdict: &Verdict) {
        let (id, handler, attempt) = (message.id, &self.settler.of.handler, message.attempts_made + 1);
        match verdict {
            Verdict::Completed => {
                tracing::debug!(message.id = %id, handler.name = %handler, "Message {id} is done")
            }
            Verdict::Skipped { reason } => {
                tracing::debug!(message.id = %id, handler.name = %handler, "Message {id} is skipped: {reason}");
            }
            Verdict::Retry { delay, error, .. } => tracing::info!(
                message.id = %id, handler.name = %handler, attempt, "Retrying message {id} in {delay:?}: {error}"
            ),
            Verdict::Dead { reason, cause, .. } => tracing::warn!(
                message.id = %id, handler.name = %handler, attempt,
                "Message {id} is dead ({}): {}", reason.as_str(), cause.error
            ),
            Verdict::Again { error, .. } => tracing::debug!(
                message.id = %id, handler.name = %handler, "Message {id} waits: {error}"
            ),
        }
    }

    fn start_settling(&mut self) {
        if self.settling.is_some() || self.decided.is_empty() {
            return;
        }
        let rows_max = self.worker.config.worker.settle_rows_max;
        let batch: Vec<Decided> = self.decided.drain(..self.decided.len().min(rows_max)).collect();
        let lanes: BTreeSet<i32> = batch.iter().map(|decided| decided.key.lane).collect();
        let leases = lanes.iter().filter_map(|lane| Some((*lane, self.leases.get(lane)?.clone()))).collect();
        let component = self.worker.handler.current();
        self.settler.policy = component.manifest().retry;
        self.settler.of.behind_dead = component.manifest().behind_dead;
        self.settling = Some(Box::pin(self.settler.clone().settle(leases, batch)));
    }

    fn settled(&mut self, fates: Vec<Fate>) {
        self.settling = None;
        let mut emitted = false;
        for fate in fates {
            match fate {
                Fate::Settled(decided) => {
                    if decided.blamed {
                        // Those behind it saw effects that are none.
                        self.void(decided.key);
                    }
                    emitted |= !decided.settlement.outgoing.is_empty();
                    self.ended(decided);
                }
                Fate::Gone(decided) => {
                    self.void(decided.key);
                    self.let_go(&decided);
                }
                Fate::Redo(decided) => {
                    self.void(decided.key);
                    self.redo(decided);
                }
            }
        }
        if emitted {
            self.worker.outbox_wake.notify_one();
        }
    }

    fn ended(&mut self, decided: Decided) {
        let Some(wait) = wait_of(&decided.settlement.verdict) else {
            self.let_go(&decided);
            return;
        };
        let mut message = decided.settlement.message;
        message.deliveries += 1;
        if matches!(decided.settlement.verdict, Verdict::Retry { counted: true, .. }) {
            message.attempts_made += 1;
        }
        self.queues.settled(decided.key, message.seq, false);
        if self.queues.has(decided.key.lane) {
            self.queues.requeue(decided.key, Entry { message, due: Instant::now() + wait, nonsense: None });
        }
    }

    fn let_go(&mut self, decided: &Decided) {
        let left = self.queues.settled(decided.key, decided.settlement.message.seq, true);
        self.worker.in_hand.remove(left);
    }

    /// What was decided on the ground of overtaken state is decided again.
    fn void(&mut self, key: Key) {
        self.queues.void(key);
        let (void, valid): (Vec<_>, Vec<_>) = self.decided.drain(..).partition(|decided| decided.key == key);
        self.decided = valid;
        for decided in void {
            self.redo(decided);
        }
    }

    fn redo(&mut self, decided: Decided) {
        let message = decided.settlement.message;
        self.queues.settled(decided.key, message.seq, false);
        if self.queues.has(decided.key.lane) {
            self.queues.requeue(decided.key, Entry { message, due: Instant::now(), nonsense: None });
        }
    }

    /// Gives back lanes that were to be closed and have nothing under way.
    fn release_closed(&mut self) {
        let (closed, dropped) = self.queues.closed();
        self.worker.in_hand.remove(dropped);
        let closed: Vec<Lease> = closed.into_iter().filter_map(|lane| self.leases.remove(&lane)).collect();
        if closed.is_empty() {
            return;
        }
        let db = self.worker.db.clone();
        let stand_in = self.settling.take();
        // Released after the settlement under way, which may still write for other lanes.
        self.settling = Some(Box::pin(async move {
            let fates = match stand_in {
                Some(settling) => settling.await,
                None => Vec::new(),
            };
            release(&db, &closed).await;
            fates
        }));
    }

    /// Ends after a stop: what runs is awaited and settled within the grace; then all lanes are given back.
    pub(super) async fn finish(mut self) {
        self.stopping = true;
        let deadline = Instant::now() + self.worker.config.host.stop_grace;
        while !self.calls.is_empty() || self.settling.is_some() || !self.decided.is_empty() {
            self.start_settling();
            tokio::select! {
                step = self.next() => match step {
                    Step::Called(ended) => self.called(*ended),
                    Step::Settled(fates) => self.settled(fates),
                    Step::Told(told) => self.caution.take(told, self.breaker_policy()),
                    Step::Fed(_) | Step::Looked | Step::Held(_) | Step::Due => {}
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

/// The verdict on a message that is not handed to anybody.
fn without_call(started: &Started) -> Option<Verdict> {
    let dead = |reason, error: &str| {
        let cause = Cause { error: error.to_owned(), ..Cause::default() };
        Some(Verdict::Dead { reason, counted: false, cause })
    };
    match &started.entry.nonsense {
        Some(reason) => dead(DeadReason::Quarantined, reason),
        None if started.parked => dead(DeadReason::Parked, "an earlier message of its key is dead"),
        None => None,
    }
}

/// A message that nobody is called for.
fn uncalled(entry: Entry, verdict: Verdict) -> Settlement {
    Settlement {
        message: entry.message,
        verdict,
        digest: None,
        outgoing: Vec::new(),
        writes: Vec::new(),
        last_output: None,
        usage: Usage::default(),
    }
}
