//! The relays of some hosts with the real machine, and models of the outbox and of Kafka, in one thread. A step does
//! one enabled thing, which the choices pick.

mod applications;
mod broker;
mod client;
pub(crate) mod coverage;
mod event_loop;
mod history;
mod host;
mod inject;
mod job;
mod jobs;
mod liveness;
mod network;
mod oracle;
mod reads;
mod sessions;
mod setup;
mod store;
mod writes;

use mailroom_core::relay::{Event, ProducerId};

use crate::choices::Choices;
use crate::coverage::Coverage;
use crate::history::History;
use crate::liveness::Bounds;
use crate::oracle::Violation;
use crate::run::{Ended, Simulated};
use applications::Application;
use broker::{Kafka, Place, Topic};
use event_loop::Step;
use host::{Host, Life};
use job::{Job, Orphan};
use network::{Ask, Request};
use oracle::Oracle;
use setup::{COMMAND_LIMIT, Setup};
use store::Store;

/// The state of a run.
pub(crate) struct RelayWorld {
    now: u64,
    /// Counts what happened.
    clock: u64,
    choices: Choices,
    setup: Setup,
    store: Store,
    kafka: Kafka,
    hosts: Vec<Host>,
    jobs: Vec<Job>,
    orphans: Vec<Orphan>,
    requests: Vec<Request>,
    asks: Vec<Ask>,
    applications: Vec<Application>,
    oracle: Oracle,
    history: History,
    coverage: Coverage,
    violation: Option<Violation>,
    /// Faults have stopped.
    calm: Option<fastrand::Rng>,
    /// Time since when all is done.
    quiet_since: Option<u64>,
    last_session: u32,
    last_message: u64,
    last_pid: u64,
}

/// Something that can happen now.
#[derive(Debug, Clone, Copy)]
enum Doing {
    Job(usize),
    Orphan(usize),
    Application(usize),
    /// A request goes on, at the broker or back at its client.
    Packet(usize),
    Ask(usize),
    Request(usize, ProducerId, Place),
    Expire(usize, ProducerId),
    Purge(usize, ProducerId),
    Lane(usize),
    Purged(usize),
    Delivered(usize),
    Woken(usize),
    Timer(usize),
    Beat(usize),
    Sweep(usize),
    Leave(usize),
    Depart(usize),
    Start(usize),
}

impl RelayWorld {
    pub(crate) fn new(mut choices: Choices, traced: bool) -> Self {
        let setup = Setup::draw(&mut choices);
        let mut world = Self {
            now: 1000,
            clock: 1,
            choices,
            store: Store::new(setup.lanes),
            kafka: Kafka { topics: setup.topics.iter().map(|_| Topic::default()).collect() },
            hosts: (0..setup.hosts).map(|_| Host::down()).collect(),
            jobs: Vec::new(),
            orphans: Vec::new(),
            requests: Vec::new(),
            asks: Vec::new(),
            applications: Vec::new(),
            oracle: Oracle::default(),
            history: History::new(traced),
            coverage: Coverage::default(),
            violation: None,
            calm: None,
            quiet_since: None,
            last_session: 0,
            last_message: 0,
            last_pid: 0,
            setup,
        };
        world.history.time(world.now);
        for _ in 0..world.setup.transactions {
            world.begin_application();
        }
        for host in 0..world.hosts.len() {
            world.start(host);
        }
        world.choices.end_step();
        world
    }

    /// Does one thing; time passes where there is none.
    fn advance_one(&mut self) {
        self.clock += 1;
        let enabled = self.enabled();
        match self.choices.pick_fairly(&mut self.calm, &enabled) {
            Some(doing) => self.do_this(doing),
            None => self.pass_time(),
        }
    }

    fn do_this(&mut self, doing: Doing) {
        match doing {
            Doing::Job(at) => self.step_job(at),
            Doing::Orphan(at) => self.end_orphan(at),
            Doing::Application(at) => self.go_on_with(at),
            Doing::Packet(at) => self.go_on(at),
            Doing::Ask(at) => self.answer_ask(at),
            Doing::Request(host, producer, place) => self.request(host, producer, place),
            Doing::Expire(host, producer) => self.expire(host, producer),
            Doing::Purge(host, producer) => self.purge(host, producer),
            Doing::Lane(index) => {
                let change = self.hosts.get_mut(index).and_then(|host| host.changes.pop_front());
                self.turn(index, change.map_or(Step::Nothing, Step::Lane));
            }
            Doing::Purged(index) => {
                let purged = self.hosts.get_mut(index).and_then(|host| host.clients.purged.pop_front());
                self.turn(index, purged.map_or(Step::Nothing, Step::Purged));
            }
            Doing::Delivered(index) => self.turn(index, Step::Nothing),
            Doing::Woken(index) => {
                if let Some(host) = self.hosts.get_mut(index) {
                    host.woken = false;
                }
                self.turn(index, Step::Woken);
            }
            Doing::Timer(index) => {
                if let Some(host) = self.hosts.get_mut(index) {
                    host.timers += 1;
                }
                self.turn(index, Step::Event(Event::TimerDue));
            }
            Doing::Beat(host) => self.beat(host),
            Doing::Sweep(host) => self.sweep(host),
            Doing::Leave(host) => self.leave(host),
            Doing::Depart(host) => self.depart(host),
            Doing::Start(host) => self.start(host),
        }
    }

    fn enabled(&self) -> Vec<Doing> {
        let mut enabled = Vec::new();
        let jobs = self.jobs.iter().enumerate().filter(|(_, job)| self.can_step(job));
        enabled.extend(jobs.map(|(at, _)| Doing::Job(at)));
        let due = self.applications.iter().enumerate().filter(|(_, of)| of.until <= self.now);
        enabled.extend(due.map(|(at, _)| Doing::Application(at)));
        let packets = self.requests.iter().enumerate().filter(|(at, request)| self.can_go_on(*at, request));
        enabled.extend(packets.map(|(at, _)| Doing::Packet(at)));
        for (index, host) in self.hosts.iter().enumerate().filter(|(_, host)| host.is_up() && !host.frozen) {
            self.enabled_of(index, host, &mut enabled);
        }
        let is_frozen = |host: usize| self.hosts.get(host).is_some_and(|host| host.frozen);
        let asks = self.asks.iter().enumerate().filter(|(_, ask)| !is_frozen(ask.host));
        enabled.extend(asks.map(|(at, _)| Doing::Ask(at)));
        let orphans = self.orphans.iter().enumerate().filter(|(_, orphan)| orphan.until <= self.now);
        enabled.extend(orphans.map(|(at, _)| Doing::Orphan(at)));
        if self.calm.is_some() && self.hosts.iter().all(|host| host.life != Life::Up) {
            let down = self.hosts.iter().position(|host| host.life == Life::Down);
            enabled.extend(down.map(Doing::Start));
        }
        enabled
    }

    fn enabled_of(&self, index: usize, host: &Host, enabled: &mut Vec<Doing>) {
        if host.relays() {
            let is_due = [
                (!host.changes.is_empty(), Doing::Lane(index)),
                (!host.clients.purged.is_empty(), Doing::Purged(index)),
                (!host.clients.answers.is_empty(), Doing::Delivered(index)),
                (host.woken, Doing::Woken(index)),
                (host.timer <= self.now, Doing::Timer(index)),
            ];
            enabled.extend(is_due.into_iter().filter(|(is_due, _)| *is_due).map(|(_, doing)| doing));
            enabled.extend(self.client_work(index, host));
        }
        if host.next_beat <= self.now && !host.beats {
            enabled.push(Doing::Beat(index));
        }
        if host.next_sweep <= self.now && !host.sweeps && host.life != Life::Leaving {
            enabled.push(Doing::Sweep(index));
        }
        if matches!(host.life, Life::Stopping(by) if by <= self.now) {
            enabled.push(Doing::Leave(index));
        }
        if self.has_left(index, host) {
            enabled.push(Doing::Depart(index));
        }
    }

    /// Returns when something can happen next.
    fn next_moment(&self) -> Option<u64> {
        let mut moments: Vec<u64> = Vec::new();
        moments.extend(self.jobs.iter().map(|job| job.started + COMMAND_LIMIT));
        moments.extend(self.orphans.iter().map(|orphan| orphan.until));
        moments.extend(self.applications.iter().map(|application| application.until));
        moments.extend(self.requests.iter().map(|request| request.until));
        for host in self.hosts.iter().filter(|host| host.is_up() && !host.frozen) {
            moments.extend([host.next_beat, host.next_sweep, host.timer]);
            moments.extend([host.cut_until, host.kafka_cut_until]);
            moments.extend(host.clients.all.values().filter_map(client::Client::expires_at));
            if let Life::Stopping(by) = host.life {
                moments.push(by);
            }
        }
        moments.into_iter().filter(|moment| *moment > self.now).min()
    }

    /// Lets time jump to when something can happen.
    fn pass_time(&mut self) {
        let next = self.next_moment().unwrap_or(self.now + 100);
        self.advance(next - self.now);
    }

    fn advance(&mut self, millis: u64) {
        self.now += millis;
        self.history.time(self.now);
        for host in &mut self.hosts {
            host.turns = 0;
        }
    }

    /// The first breach ends the run.
    fn violate(&mut self, rule: &'static str, text: String) {
        self.history.note(|| format!("BREACH {rule}: {text}"));
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, text });
        }
    }

    /// Draws from the recorded choices, or, once all is calm, from the run's own fair ones.
    fn chance(&mut self, below: u32) -> u32 {
        self.choices.draw_fairly(&mut self.calm, below)
    }
}

impl Simulated for RelayWorld {
    fn step(&mut self) {
        self.disturbed_step();
    }

    fn is_broken(&self) -> bool {
        self.violation.is_some()
    }

    fn is_exhausted(&self) -> bool {
        self.choices.is_exhausted()
    }

    fn calm_down(&mut self) {
        self.begin_calm();
    }

    fn bounds(&self) -> Bounds {
        self.calm_bounds()
    }

    fn progress(&mut self) {
        self.advance_one();
    }

    fn is_idle(&self) -> bool {
        self.enabled().is_empty()
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn remaining(&mut self) -> Vec<String> {
        self.not_done()
    }

    fn violate(&mut self, rule: &'static str, text: String) {
        Self::violate(self, rule, text);
    }

    fn end(self) -> Ended {
        let Self { violation, choices, history, coverage, .. } = self;
        Ended { violation, choices, history, coverage }
    }
}
