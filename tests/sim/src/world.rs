//! Everything that there is, in one thread: hosts with the real machines, and models of their servers. A step does
//! one enabled thing, which the choices pick.

mod calls;
mod explore;
mod fingerprint;
mod inject;
mod jobs;
mod sessions;
mod whole;

pub(crate) use explore::{Explored, Faults, Pace, Scenario};

use std::collections::BTreeSet;
use std::sync::Arc;

use mailroom_core::handler_machine::command::{Command, Remark};
use mailroom_core::handler_machine::event::Event;
use mailroom_core::ids::{CallId, TopicPartition};
use mailroom_core::time::Moment;

use crate::choices::Choices;
use crate::coverage::Coverage;
use crate::guest::{BYTES, Effects, KeyState};
use crate::history::History;
use crate::host::{Host, Life, Machine};
use crate::job::{Job, Orphan};
use crate::kafka::{Kafka, Told};
use crate::oracle::{Oracle, Violation};
use crate::postgres::Postgres;
use crate::setup::{COMMAND_LIMIT, CONCURRENCY_MAX, EXPIRY, Setup, shared};
use crate::twin::Witness;

/// The state of a run.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) choices: Choices,
    pub(crate) setup: Arc<Setup>,
    pub(crate) pg: Postgres,
    pub(crate) kafka: Kafka,
    pub(crate) hosts: Vec<Host>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) orphans: Vec<Orphan>,
    pub(crate) oracle: Oracle,
    pub(crate) history: History,
    pub(crate) coverage: Coverage,
    pub(crate) violation: Option<Violation>,
    /// Faults have stopped.
    pub(crate) calm: Option<fastrand::Rng>,
    last_job: u64,
    last_session: u32,
    /// The topics of the messages that were sent.
    sent_to: Vec<Arc<str>>,
    last_version: u64,
    /// Messages that killed a process, or found a server away, once.
    once: BTreeSet<String>,
    /// Time of the last injected fault.
    last_fault: u64,
    /// Somebody does the same at a real database: all work there is done whole.
    is_witnessed: bool,
    /// All that can happen is tried, and nothing drawn.
    explored: Option<Explored>,
}

/// Something that can happen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Job(usize),
    Orphan(usize),
    Hand(usize),
    Call(usize, CallId),
    Tick(usize),
    Beat(usize),
    Look(usize),
    Poll(usize),
    Depart(usize),
    Rebalance(usize),
    Start(usize),
}

impl World {
    pub(crate) fn new(choices: Choices, traced: bool) -> Self {
        Self::with(choices, traced, None)
    }

    fn with(mut choices: Choices, traced: bool, witness: Option<Box<dyn Witness>>) -> Self {
        let mut setup = Setup::draw(&mut choices);
        if witness.is_some() {
            Self::leave_out_sql(&mut setup.acts);
        }
        let mut world = Self::empty(setup, choices, traced);
        world.is_witnessed = witness.is_some();
        whole::begin(witness);
        for _ in 0..world.setup.records {
            world.produce();
        }
        for host in 0..world.hosts.len() {
            world.start(host);
        }
        world.choices.end_step();
        world
    }

    /// Gives one with hosts that are down and logs without records.
    fn empty(setup: Setup, choices: Choices, traced: bool) -> Self {
        let version = shared(&setup.version);
        let hosts = (0..setup.hosts).map(|_| Host::down(Arc::clone(&version))).collect();
        let mut world = Self {
            now: 1000,
            choices,
            pg: Postgres::default(),
            kafka: Kafka::default(),
            hosts,
            jobs: Vec::new(),
            orphans: Vec::new(),
            oracle: Oracle::default(),
            history: History::new(traced),
            coverage: Coverage::default(),
            violation: None,
            calm: None,
            last_job: 0,
            last_session: 0,
            sent_to: Vec::new(),
            last_version: 1,
            once: BTreeSet::new(),
            last_fault: 0,
            is_witnessed: false,
            explored: None,
            setup: Arc::new(setup),
        };
        world.history.time(world.now);
        for partition in world.setup.partitions.clone() {
            world.kafka.logs.insert(partition, crate::kafka::Log::default());
        }
        world
    }

    /// Does one thing; time passes where there is none.
    pub(crate) fn progress(&mut self) {
        let enabled = self.enabled();
        match self.choices.pick_fairly(&mut self.calm, &enabled) {
            Some(doing) => self.do_this(doing),
            None => self.pass_time(),
        }
    }

    /// Tells whether nothing can happen at this moment.
    pub(crate) fn is_idle(&self) -> bool {
        self.enabled().is_empty()
    }

    fn do_this(&mut self, doing: Doing) {
        match doing {
            Doing::Job(index) => self.step_job(index),
            Doing::Orphan(index) => self.end_orphan(index),
            Doing::Hand(host) => self.hand_over(host),
            Doing::Call(host, call) => self.step_call(host, call),
            Doing::Tick(host) => self.tick(host),
            Doing::Beat(host) => self.beat(host),
            Doing::Look(host) => self.start_look(host),
            Doing::Poll(host) => self.poll(host),
            Doing::Depart(host) => self.depart(host),
            Doing::Rebalance(partition) => self.rebalance(partition),
            Doing::Start(host) => self.start(host),
        }
    }

    fn enabled(&self) -> Vec<Doing> {
        let mut enabled = Vec::new();
        for (index, job) in self.jobs.iter().enumerate() {
            if self.can_step(job) {
                enabled.push(Doing::Job(index));
            }
        }
        for (index, host) in self.hosts.iter().enumerate().filter(|(_, host)| host.is_up() && !host.frozen) {
            self.enabled_of(index, host, &mut enabled);
        }
        let orphans = self.orphans.iter().enumerate().filter(|(_, orphan)| orphan.until <= self.now);
        enabled.extend(orphans.map(|(index, _)| Doing::Orphan(index)));
        let homeless = |partition: &TopicPartition| {
            let owner = self.kafka.owners.get(partition).and_then(|owner| self.hosts.get(*owner));
            owner.is_none_or(|host| host.life != Life::Up)
        };
        if self.hosts.iter().any(|host| host.life == Life::Up) {
            let homeless = self.setup.partitions.iter().enumerate().filter(|(_, of)| homeless(of));
            enabled.extend(homeless.map(|(index, _)| Doing::Rebalance(index)));
        } else if self.calm.is_some() {
            let down = self.hosts.iter().position(|host| host.life == Life::Down);
            enabled.extend(down.map(Doing::Start));
        }
        enabled
    }

    fn enabled_of(&self, index: usize, host: &Host, enabled: &mut Vec<Doing>) {
        if !host.consumer.told.is_empty() {
            enabled.push(Doing::Hand(index));
        }
        let calls = host.calls.iter().filter(|(_, running)| running.until <= self.now);
        enabled.extend(calls.map(|(call, _)| Doing::Call(index, *call)));
        let due = host.machine.as_ref().and_then(|machine| machine.next_due());
        if due.is_some_and(|due| due.0 <= self.now) {
            enabled.push(Doing::Tick(index));
        }
        if host.consumer.can_poll(&self.kafka) && host.machine.as_ref().is_some_and(Machine::polls) {
            enabled.push(Doing::Poll(index));
        }
        if host.next_beat <= self.now && !host.beats {
            enabled.push(Doing::Beat(index));
        }
        if host.next_look <= self.now && !host.looks {
            enabled.push(Doing::Look(index));
        }
        if let Life::Stopping(by) = host.life
            && (by <= self.now || self.has_nothing_left(index))
        {
            enabled.push(Doing::Depart(index));
        }
    }

    /// Returns when something can happen next.
    fn next_moment(&self) -> Option<u64> {
        let mut moments: Vec<u64> = Vec::new();
        moments.extend(self.jobs.iter().map(|job| job.started + COMMAND_LIMIT));
        moments.extend(self.orphans.iter().map(|orphan| orphan.until));
        for host in self.hosts.iter().filter(|host| host.is_up() && !host.frozen) {
            moments.extend(host.calls.values().map(|running| running.until));
            moments.extend(host.machine.as_ref().and_then(|machine| machine.next_due()).map(|due| due.0));
            moments.extend([host.next_beat, host.next_look]);
            moments.extend(host.open.values().map(|open| open.since + COMMAND_LIMIT));
            if let Life::Stopping(by) = host.life {
                moments.push(by);
            }
        }
        moments.into_iter().filter(|moment| *moment > self.now).min()
    }

    /// Lets time jump to when something can happen.
    pub(crate) fn pass_time(&mut self) {
        let next = self.next_moment().unwrap_or(self.now + 100);
        self.advance(next - self.now);
    }

    pub(crate) fn advance(&mut self, millis: u64) {
        self.now += millis;
        self.history.time(self.now);
        for host in &mut self.hosts {
            host.ticks = 0;
        }
        self.end_idle_transactions();
    }

    /// Hands an event to a host's machine and does what it wants done.
    pub(crate) fn feed(&mut self, index: usize, event: Event<KeyState, Effects>) {
        let now = Moment(self.now);
        let Some(host) = self.hosts.get_mut(index) else { return };
        let Some(machine) = host.machine.as_mut() else { return };
        let said = self.history.is_on().then(|| crate::history::event(&event));
        if self.explored.is_none() {
            self.coverage.event(&event);
        }
        machine.on(event, now);
        let commands = machine.commands();
        // Calls begin below the bound; what they leave comes on top.
        let most = self.setup.effects_bytes_max + CONCURRENCY_MAX * 2 * BYTES;
        let left = machine.effects();
        let is_bounded = if left <= most { Ok(()) } else { Err(format!("calls left {left} bytes")) };
        let checked = machine.check().and(is_bounded);
        if let Some(said) = said {
            self.history.fed(index, &said, &commands);
        }
        if let Err(complaint) = checked {
            self.violate("check", complaint);
        }
        for command in commands {
            self.execute(index, command);
        }
    }

    fn execute(&mut self, index: usize, command: Command<KeyState, Effects>) {
        if self.explored.is_none() {
            self.coverage.command(&command);
        }
        let Some(host) = self.hosts.get_mut(index) else { return };
        match command {
            Command::Assign(partitions) => {
                for (partition, at) in partitions {
                    host.consumer.assign(&partition, at);
                }
            }
            Command::Unassign(partitions) => {
                for partition in partitions {
                    host.consumer.unassign(&partition);
                }
            }
            Command::Pause(partitions) => {
                partitions.iter().for_each(|partition| host.consumer.pause(partition, true));
            }
            Command::Resume(partitions) => {
                partitions.iter().for_each(|partition| host.consumer.pause(partition, false));
            }
            Command::DropSql(call) => self.drop_sql(index, call),
            Command::Call(call) => self.start_call(index, call),
            Command::WakeRelay => {}
            Command::Say(remark) => self.hear(index, &remark),
            Command::Take(_)
            | Command::Adopt { .. }
            | Command::Retake(_)
            | Command::Release(_)
            | Command::ReadStanding { .. }
            | Command::Read(_)
            | Command::ReadDue { .. }
            | Command::Mark(_)
            | Command::Write(_)
            | Command::SettleSql { .. }
            | Command::FindPositions(_)
            | Command::DrawSeqs(_)
            | Command::OpenBreaker { .. }
            | Command::CloseBreaker
            | Command::ClaimProbe { .. } => self.start_command(index, command),
        }
    }

    /// Tells whether something is wrong at this moment, or was within the expiry.
    fn is_troubled(&self) -> bool {
        self.last_fault + EXPIRY >= self.now
            || !self.orphans.is_empty()
            || self.hosts.iter().any(|host| host.frozen || host.cut_until + EXPIRY > self.now)
    }

    fn hear(&mut self, index: usize, remark: &Remark) {
        self.history.note(|| format!("h{index} says {remark:?}"));
        if let Remark::Stalled { waits_for, .. } = remark
            && !self.is_troubled()
        {
            self.violate("watchdog", format!("it fired without a fault, waiting for {waits_for}"));
        }
    }

    /// The first breach ends the run.
    pub(crate) fn violate(&mut self, rule: &'static str, text: String) {
        self.history.note(|| format!("BREACH {rule}: {text}"));
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, text });
        }
    }

    fn hand_over(&mut self, index: usize) {
        let told = self.hosts.get_mut(index).and_then(|host| host.consumer.told.pop_front());
        match told {
            None => {}
            Some(Told::Assigned(partitions)) => self.feed(index, Event::Assigned(partitions)),
            Some(Told::Revoked(partitions)) => self.feed(index, Event::Revoked(partitions)),
            Some(Told::Polled(polled)) => self.feed(index, Event::Polled(polled)),
            Some(Told::Displaced(partitions)) => self.feed(index, Event::Displaced(partitions)),
        }
    }

    fn tick(&mut self, index: usize) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.ticks += 1;
        if host.ticks > 50 {
            self.violate("spin", format!("the machine of h{index} is due again and again"));
        }
        self.feed(index, Event::Tick);
    }

    fn poll(&mut self, index: usize) {
        let records_max = match &mut self.calm {
            Some(rng) => rng.usize(1..5),
            None => 1 + self.choices.index(self.explored.as_ref().map_or(4, Explored::poll_max)),
        };
        if let Some(host) = self.hosts.get_mut(index) {
            host.consumer.poll(&self.kafka, records_max);
        }
    }

    /// Draws from the recorded choices, or, once all is calm, from the run's own fair ones.
    fn chance(&mut self, below: u32) -> u32 {
        self.choices.draw_fairly(&mut self.calm, below)
    }
}
