//! The loop: waits for what happens, tells the machine, carries out what it commands.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use mailroom_core::handler_machine::command::{self, EndedBy, LaneWrite, Write};
use mailroom_core::handler_machine::event::{self, Outcome};
use mailroom_core::handler_machine::{HandlerMachine, Settings};
use mailroom_core::ids::{CallId, LaneId, TopicPartition};
use mailroom_core::time::Moment;
use tokio::time::Instant;

use super::calls::{Calls, Finished};
use super::executor::{Done, Event, Executor, ToDo};
use super::judge::{Judged, judge};
use super::running::Running;
use super::{Worker, remarks};
use crate::clock;
use crate::config::Config;
use crate::db::GuestTx;
use crate::inbox::Origin;
use crate::ingest::{Happened, Ingest, matching};
use crate::message::Message;
use crate::metrics::HandlerMetrics;
use crate::outage::Outage;
use crate::pipeline::decide::DeadReason;
use crate::settle::{Effects, Settler, StateView};
use crate::waits::Wait;

/// The longest sleep: a version may have been swapped, or the session renewed.
const SLEEP_MAX: Duration = Duration::from_millis(200);
/// The shortest sleep.
const SLEEP_MIN: Duration = Duration::from_millis(1);
/// Time without a failure after which an outage is over.
const OUTAGE_OVER: Duration = Duration::from_secs(1);

/// Something that happened.
enum Step {
    Done(Done),
    Finished(Vec<Finished>),
    Looked,
    Ingest(Happened),
    Due,
}

/// The work of one handler in one session.
pub(super) struct EventLoop {
    worker: Worker,
    ingest: Ingest,
    machine: HandlerMachine<StateView, Effects>,
    running: Running,
    executor: Executor,
    tasks: FuturesUnordered<BoxFuture<'static, Done>>,
    calls: Calls,
    /// Transactions that calls left open, to be settled.
    open_sql: HashMap<CallId, GuestTx>,
    /// Topics of the lanes that were taken.
    topics: HashMap<LaneId, Arc<str>>,
    /// The lanes in this host's book.
    noted: BTreeSet<LaneId>,
    session_until: Moment,
    postgres: Outage,
    metrics: HandlerMetrics,
    /// Moment at which a command failed last.
    failed_at: Instant,
    /// Shows to others that nothing is fetched.
    paused: Option<Wait>,
    /// Shows to others which partitions are not fetched, since too many keys of theirs wait.
    crowded: BTreeMap<TopicPartition, Wait>,
}

impl EventLoop {
    pub(super) fn new(worker: Worker, ingest: Ingest) -> Self {
        let running = Running::of(&worker.handler);
        let settings = settings(&worker.config, worker.db.limit());
        let name: Arc<str> = Arc::from(worker.config.host.worker.as_str());
        let settler = Settler {
            handler: Arc::from(worker.handler.name.as_str()),
            group: Arc::clone(&worker.handler.group),
            host: Arc::clone(&name),
        };
        let executor = Executor {
            db: worker.db.clone(),
            session: Arc::clone(&worker.session),
            settler,
            worker: name,
            // A host is buried after one expiry and has two more to prove that it lives: three in all.
            blamed_after: 2 * worker.config.host.expiry,
            topics: ingest.topics(),
            dropped: Arc::default(),
            metrics: worker.metrics.of_settlements(worker.handler.name.as_str()),
        };
        Self {
            machine: HandlerMachine::new(settings, Arc::clone(&running.version), clock::now()),
            calls: Calls::new(worker.guests.clone(), worker.db.clone()),
            postgres: worker.db.outage(),
            metrics: worker.metrics.of_handler(&worker.handler),
            failed_at: Instant::now(),
            paused: None,
            crowded: BTreeMap::new(),
            running,
            executor,
            tasks: FuturesUnordered::new(),
            open_sql: HashMap::new(),
            topics: HashMap::new(),
            noted: BTreeSet::new(),
            session_until: Moment::default(),
            ingest,
            worker,
        }
    }

    /// Waits for something to happen, and does what follows from it. Cancel safe.
    pub(super) async fn turn(&mut self) {
        let first = self.next().await;
        let polled = matches!(first, Step::Ingest(_));
        let mut events = Vec::new();
        self.take(first, &mut events);
        // What else is there goes with it: the machine looks once what it can do now.
        while let Some(Some(done)) = self.tasks.next().now_or_never() {
            self.take(Step::Done(done), &mut events);
        }
        if !self.calls.is_empty()
            && let Some(finished) = self.calls.ended().now_or_never()
        {
            self.take(Step::Finished(finished), &mut events);
        }
        if !polled && let Some(happened) = self.ingest.next(self.machine.polls()).now_or_never() {
            self.take(Step::Ingest(happened), &mut events);
        }
        self.step(events);
    }

    async fn next(&mut self) -> Step {
        let now = clock::now();
        let due = self.machine.next_due().map_or(SLEEP_MAX, |at| at.since(now));
        let due = Instant::now() + due.clamp(SLEEP_MIN, SLEEP_MAX);
        let polls = self.machine.polls();
        tokio::select! {
            biased;
            Some(done) = self.tasks.next(), if !self.tasks.is_empty() => Step::Done(done),
            finished = self.calls.ended(), if !self.calls.is_empty() => Step::Finished(finished),
            Ok(()) = self.worker.looks.changed() => Step::Looked,
            happened = self.ingest.next(polls) => Step::Ingest(happened),
            () = tokio::time::sleep_until(due) => Step::Due,
        }
    }

    /// Makes events of what happened.
    fn take(&mut self, step: Step, events: &mut Vec<Event>) {
        match step {
            Step::Done(Done { event, error }) => {
                match error {
                    // One statement may go through while another fails.
                    None if self.failed_at.elapsed() > OUTAGE_OVER => self.postgres.over(),
                    None => {}
                    Some(error) => {
                        self.postgres.failed_as(error.urgency(), &error);
                        self.failed_at = Instant::now();
                    }
                }
                self.note_topics(&event);
                events.push(event);
            }
            Step::Finished(finished) => {
                let ends = finished.into_iter().map(|finished| self.judge(finished));
                let ends: Vec<_> = ends.collect();
                events.push(Event::CallsEnded(ends));
            }
            Step::Looked => {
                let look = Arc::clone(&self.worker.looks.borrow_and_update());
                let look = look.of(&self.worker.handler.group, self.machine.lanes());
                self.metrics.has_breaker(look.open_until.is_some());
                events.push(Event::Looked(Arc::new(look)));
            }
            Step::Ingest(happened) => {
                let lanes = self.machine.assigned_lanes().map(|(of, lane)| (of.clone(), lane));
                events.extend(self.ingest.take(happened, lanes));
            }
            Step::Due => {}
        }
    }

    fn judge(&mut self, finished: Finished) -> event::CallEnd<StateView, Effects> {
        let Judged { end, sql } = judge(finished, self.worker.handler.name.as_str(), &mut self.metrics);
        if let Some(tx) = sql {
            self.open_sql.insert(end.call, tx);
        }
        end
    }

    fn note_topics(&mut self, event: &Event) {
        let (Event::Taken { outcome, .. } | Event::Retaken { outcome, .. }) = event else { return };
        let Outcome::Done(lanes) = outcome else { return };
        for lane in lanes {
            self.topics.insert(lane.lease.lane, Arc::clone(&lane.partition.topic));
        }
    }

    /// Tells the machine what happened, and carries out what it commands.
    fn step(&mut self, mut events: Vec<Event>) {
        let until = self.worker.session.valid_until();
        if until != self.session_until {
            self.session_until = until;
            events.push(Event::SessionRenewed(until));
        }
        events.extend(self.running.renew(&self.worker.handler).map(Event::VersionChanged));
        loop {
            self.machine.on_all(events, clock::now());
            events =
                self.machine.commands().into_iter().filter_map(|command| self.carry_out(command)).collect();
            if events.is_empty() {
                break;
            }
        }
        self.calls.go();
        self.note_lanes();
        self.metrics.has(self.calls.under_way(), self.noted.len());
        self.show_pauses();
    }

    /// Shows to others what is not fetched for want of room.
    fn show_pauses(&mut self) {
        if !self.machine.is_paused() {
            self.paused = None;
        }
        let is_shown = self.machine.is_paused() == self.paused.is_some();
        if is_shown && self.machine.with_too_many_keys().eq(self.crowded.keys()) {
            return;
        }
        let (waits, name) = (self.worker.db.waits(), &self.worker.handler.name);
        if !is_shown {
            let why = "as much is in hand as ingest.in-hand-max and ingest.in-hand-bytes-max allow; records are read on \
                       as messages are settled";
            self.paused = Some(waits.begin(format!("room for more messages of handler {name}"), &why));
        }
        let crowded = self.machine.with_too_many_keys().cloned();
        let mut before = std::mem::take(&mut self.crowded);
        self.crowded = crowded
            .map(|partition| {
                let why = "more keys wait than ingest.waiting-keys-max allows to be remembered; mailroom dead list shows \
                           what they wait behind";
                let begin = || waits.begin(format!("fewer waiting keys of handler {name}, to read {partition}"), &why);
                let wait = before.remove(&partition).unwrap_or_else(begin);
                (partition, wait)
            })
            .collect();
    }

    fn note_lanes(&mut self) {
        if self.machine.lanes().eq(self.noted.iter().copied()) {
            return;
        }
        self.noted = self.machine.lanes().collect();
        self.topics.retain(|lane, _| self.noted.contains(lane));
        self.worker.lanes.write(&self.worker.handler.group, self.noted.clone());
    }

    /// Carries out a command; gives what comes of it at once.
    fn carry_out(&mut self, command: ToDo) -> Option<Event> {
        // Cloned for the commands that ask Postgres alone: a call needs none.
        let executor = || self.executor.clone();
        let task = match command {
            ToDo::Take(partitions) => executor().take(partitions),
            ToDo::Adopt { held } => executor().adopt(held),
            ToDo::Retake(lanes) => executor().retake(lanes),
            ToDo::Release(leases) => executor().release(leases),
            ToDo::ReadStanding { lease, after } => executor().read_standing(lease, after),
            ToDo::Read(read) => self.read(executor(), read),
            ToDo::ReadDue { lease, read, after, with_blocked } => {
                executor().read_due(lease, read, after, with_blocked)
            }
            ToDo::Mark(marks) => executor().mark(marks),
            ToDo::Write(write) => {
                self.log_uncalled(&write);
                executor().write(write)
            }
            ToDo::SettleSql { call, lease, settled } => {
                executor().settle_sql(call, lease, settled, self.open_sql.remove(&call))
            }
            ToDo::DrawSeqs(count) => executor().draw_seqs(count),
            ToDo::OpenBreaker { recovery, error } => executor().open_breaker(recovery, error),
            ToDo::CloseBreaker => executor().close_breaker(),
            ToDo::ClaimProbe { recovery } => executor().claim_probe(recovery),
            ToDo::DropSql(call) => {
                // Dropped, it is rolled back.
                self.open_sql.remove(&call);
                return None;
            }
            ToDo::Call(call) => {
                self.calls.start(Arc::clone(&self.running.component), *call);
                return None;
            }
            ToDo::Assign(offsets) => return self.ingest.assign(&offsets),
            ToDo::Unassign(partitions) => {
                self.ingest.unassign(&partitions);
                return None;
            }
            ToDo::Pause(partitions) => {
                self.ingest.pause(&partitions);
                return None;
            }
            ToDo::Resume(partitions) => {
                self.ingest.resume(&partitions);
                return None;
            }
            ToDo::FindPositions(partitions) => {
                self.ingest.find(partitions);
                return None;
            }
            ToDo::WakeRelay => {
                self.worker.outbox_wake.notify_one();
                return None;
            }
            ToDo::Say(remark) => {
                let handler = &self.worker.handler;
                remarks::log(&remark, handler.name.as_str(), &handler.group);
                return None;
            }
        };
        self.tasks.push(task);
        None
    }

    fn read(&self, executor: Executor, read: command::Read) -> BoxFuture<'static, Done> {
        let topic = self.topics.get(&read.lease.lane).cloned().unwrap_or_else(|| "".into());
        let of = Origin { group: Arc::clone(&self.worker.handler.group), topic };
        let component = Arc::clone(&self.running.component);
        let claims = move |message: &Message| matching::first(component.subscriptions(), message).is_some();
        executor.read(of, read, claims)
    }

    /// Says of what dies without a call, where it may have run before.
    fn log_uncalled(&self, write: &Write<Effects>) {
        for (message, how) in write.lanes.iter().flat_map(LaneWrite::ended) {
            if let EndedBy::Host(reason @ (DeadReason::CrashLoop | DeadReason::Interrupted), words) = &how.end
            {
                tracing::warn!(
                    message.id = %message.id, handler.name = %self.worker.handler.name,
                    "Message {} is dead ({}): {words}", message.id, reason.as_str()
                );
            }
        }
    }

    /// Ends after a stop: what runs is awaited and settled within the grace; then all lanes are given back.
    pub(super) async fn finish(&mut self) {
        let by = clock::now() + self.worker.config.host.calls_grace();
        self.step(vec![Event::Stop { by }]);
        let leave = self.ingest.leave();
        let give_up = by + self.worker.db.limit();
        let work = async {
            while !self.machine.is_stopped() && clock::now() < give_up {
                self.turn().await;
            }
        };
        tokio::join!(work, leave);
    }

    /// Leaves the group, where that is not done yet.
    pub(super) async fn end(mut self) {
        self.worker.lanes.tear_out(&self.worker.handler.group);
        self.ingest.leave().await;
    }
}

fn settings(config: &Config, command_limit: Duration) -> Settings {
    Settings {
        in_hand_max: config.ingest.in_hand_max,
        in_hand_bytes_max: config.ingest.in_hand_bytes_max,
        effects_bytes_max: config.worker.effects_bytes_max,
        batch_rows_max: config.ingest.batch_rows_max,
        settle_rows_max: config.worker.settle_rows_max,
        expiry: config.host.expiry,
        command_limit,
        waiting_keys_max: config.ingest.waiting_keys_max,
    }
}
