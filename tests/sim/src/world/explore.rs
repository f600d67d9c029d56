//! A world of which all is tried: what can happen at each moment, faults as long as there are any left.
//!
//! Time passes only where nothing else is left to do, so that whatever is ready takes place before anything that is
//! due later; a *time jump* is the fault that lets a moment come sooner. What may take its time (a commit that nobody
//! waits for, a process that was frozen) lets time pass beside it, up to its own end.

mod acting;

use mailroom_core::handler_machine::command::Command;
use mailroom_core::ids::Seq;

use super::{Doing, World};
use crate::choices::Choices;
use crate::guest::Script;
use crate::host::Life;
use crate::job::{Job, Task};
use crate::kafka::Record;
use crate::postgres::table::NOBODY;
use crate::setup::{EXPIRY, Setup};

/// The clock's beginning, far from every other number, so that moments are told from those.
pub(super) const BEGINNING: u64 = 1 << 40;
/// The first version of a value, far from every other number too.
pub(super) const VERSIONS_FROM: i64 = 1 << 50;
/// Longest time that a process is frozen once it was buried.
const FROZEN_MAX: u64 = 150;
/// Longest time that a process lives on that was buried, before it finds out.
const UNAWARE_MAX: u64 = 150;
/// Longest time that a commit stays open that nobody waits for.
pub(super) const ORPHANED_MAX: u64 = 150;
/// Longest time until the last record comes.
const LATE_MAX: u64 = 500;
/// A run that goes on for longer than this after its last fault does not end.
const RUN_MAX: u64 = 5 * EXPIRY;

/// Number of faults of each kind that a run may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// A command is lost: refused, without a reply, or with a commit that comes later.
    pub(crate) lost: u8,
    /// A process dies for good, beside one that lives.
    pub(crate) killed: u8,
    /// A process is frozen until it is buried, and then goes on.
    pub(crate) buried: u8,
    /// An operator replays a dead message.
    pub(crate) replayed: u8,
    /// A partition is given to the other host.
    pub(crate) rebalanced: u8,
    /// Time passes though there is something to do.
    pub(crate) jumps: u8,
    /// Somebody else writes the first value that all keys share.
    pub(crate) foreign: u8,
}

/// Granularity of a run's steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Each statement of a transaction, and not all up to its commit.
    pub(crate) statements: bool,
    /// A look, and apart from it what its host makes of it.
    pub(crate) looks: bool,
    /// A poll, and apart from it what its host makes of it.
    pub(crate) polls: bool,
    /// The most records of a poll; each number up to it is tried.
    pub(crate) poll_max: usize,
    /// Bound of how often something goes before what is first in order, the oldest job; `None` where that is
    /// always tried.
    pub(crate) swaps: Option<u8>,
}

/// Start of a run, and what may happen to it.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) setup: Setup,
    /// Records with their partitions and what is done at their deliveries.
    pub(crate) records: Vec<(usize, Record, Script)>,
    /// Number of the last records that come at any moment of a while.
    pub(crate) late: usize,
    /// Partitions are given to all hosts by turns, and not all to the first.
    pub(crate) by_turns: bool,
    pub(crate) faults: Faults,
    pub(crate) pace: Pace,
}

/// Bookkeeping of a world that is explored.
#[derive(Debug, Clone)]
pub(crate) struct Explored {
    pub(super) left: Faults,
    pace: Pace,
    /// Something was taken out of order so often.
    pub(super) swapped: u8,
    /// Processes that were buried, each with the time by which it goes on, or finds out.
    pub(super) buried: Vec<(usize, u64)>,
    /// Records that come later, the next one last, and the time by which they do.
    pub(super) late: Vec<(usize, Record)>,
    pub(super) late_by: u64,
}

/// Action that may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Do(Doing),
    Pass,
    Jump,
    Lose(usize),
    Kill(usize),
    Bury(usize),
    Thaw(usize),
    FindBuried(usize),
    Replay(Seq),
    Rebalance(usize),
    WriteState,
    Produce,
}

impl Explored {
    /// Tells whether something that is taken out of order counts.
    pub(super) fn is_ordered(&self) -> bool {
        self.pace.swaps.is_some()
    }

    pub(super) fn poll_max(&self) -> usize {
        self.pace.poll_max
    }
}

impl World {
    /// Begins a run whose partitions are the first host's, and lets it come to where that host fetches them and the
    /// others have nothing to do: what can happen at a start is not tried.
    pub(crate) fn explore(scenario: &Scenario, traced: bool) -> Self {
        let mut world = Self::empty(scenario.setup.clone(), Choices::listed(Vec::new()), traced);
        world.now = BEGINNING;
        world.history.time(world.now);
        world.last_fault = world.now;
        world.pg.drawn_max = Some(6);
        world.pg.last_version = VERSIONS_FROM;
        world.explored = Some(Explored {
            left: scenario.faults,
            pace: scenario.pace,
            swapped: 0,
            buried: Vec::new(),
            late: Vec::new(),
            late_by: 0,
        });
        let owners = if scenario.by_turns { world.hosts.len() } else { 1 };
        for (index, partition) in scenario.setup.partitions.iter().enumerate() {
            world.kafka.owners.insert(partition.clone(), index % owners);
        }
        for host in 0..world.hosts.len() {
            world.start(host);
            world.let_live();
        }
        let fetched =
            |world: &Self| world.hosts.iter().map(|host| host.consumer.fetches.len()).sum::<usize>();
        while fetched(&world) < scenario.setup.partitions.len() || !world.eager().is_empty() {
            match world.eager().first().copied() {
                Some(action) => world.act(action),
                None => world.act(Action::Pass),
            }
        }
        let early = scenario.records.len().saturating_sub(scenario.late);
        let by = world.now + LATE_MAX;
        for (index, (partition, record, script)) in scenario.records.iter().enumerate() {
            world.kafka.scripts.insert(record.message_id.clone(), script.clone());
            if index < early {
                world.append(*partition, record.clone());
            } else if let Some(explored) = &mut world.explored {
                explored.late.insert(0, (*partition, record.clone()));
                explored.late_by = by;
            }
        }
        world
    }

    fn append(&mut self, partition: usize, record: Record) {
        let partition = self.setup.partitions.get(partition);
        if let Some(log) = partition.and_then(|partition| self.kafka.logs.get_mut(partition)) {
            log.append(record);
        }
    }

    /// Gives all that may happen now. Nothing may where all is done and no fault is left.
    pub(crate) fn actions(&self) -> Vec<Action> {
        let Some(explored) = &self.explored else { return Vec::new() };
        let mut actions = self.eager();
        let has_more = !actions.is_empty();
        if let Some(first) = actions.iter().find(|action| self.goes_first(explored.pace, action)) {
            return vec![*first];
        }
        if explored.pace.swaps.is_some_and(|swaps| swaps <= explored.swapped) {
            actions.truncate(1);
        }
        self.faults(&explored.left, has_more, &mut actions);
        let done = !has_more && self.is_done();
        if done {
            return actions;
        }
        self.lazy(explored, &mut actions);
        if !has_more {
            actions.push(Action::Pass);
        }
        actions
    }

    /// Tells whether nothing is left to do, now and later.
    pub(crate) fn is_done(&self) -> bool {
        let waits = self
            .explored
            .as_ref()
            .is_some_and(|explored| !explored.buried.is_empty() || !explored.late.is_empty());
        self.eager().is_empty() && self.orphans.is_empty() && !waits && self.remaining().is_empty()
    }

    /// Gives why the run does not end, where it does not.
    pub(crate) fn goes_on_for_ever(&self) -> Option<String> {
        let is_late = self.now > self.last_fault + RUN_MAX;
        is_late.then(|| format!("it does not end: {}", self.remaining().join("; ")))
    }

    /// Returns what happens before time passes.
    fn eager(&self) -> Vec<Action> {
        let mut actions: Vec<Action> = self.enabled().into_iter().map(Action::Do).collect();
        if self.explored.as_ref().is_some_and(|of| !of.late.is_empty() && of.late_by <= self.now) {
            actions.push(Action::Produce);
        }
        for (index, by) in self.explored.iter().flat_map(|explored| &explored.buried) {
            if *by <= self.now {
                let frozen = self.hosts.get(*index).is_some_and(|host| host.frozen);
                actions.push(if frozen { Action::Thaw(*index) } else { Action::FindBuried(*index) });
            }
        }
        actions
    }

    /// Tells whether an action happens before all else: what is due at this moment, what Kafka does by
    /// itself, and what a consumer tells its host. A machine that hears of something else first has heard of
    /// it a moment earlier, and what it does about it is tried there.
    fn goes_first(&self, pace: Pace, action: &Action) -> bool {
        let Action::Do(doing) = action else { return false };
        match doing {
            Doing::Tick(_) => true,
            Doing::Look(_) => !pace.looks,
            Doing::Rebalance(_) | Doing::Hand(_) => !pace.polls,
            Doing::Job(_)
            | Doing::Orphan(_)
            | Doing::Call(..)
            | Doing::Beat(_)
            | Doing::Poll(_)
            | Doing::Depart(_)
            | Doing::Start(_) => false,
        }
    }

    /// Adds what may happen, or time passes before it.
    fn lazy(&self, explored: &Explored, actions: &mut Vec<Action>) {
        for (index, orphan) in self.orphans.iter().enumerate() {
            if orphan.until > self.now {
                actions.push(Action::Do(Doing::Orphan(index)));
            }
        }
        if !explored.late.is_empty() && explored.late_by > self.now {
            actions.push(Action::Produce);
        }
        for (index, by) in &explored.buried {
            if *by > self.now {
                let frozen = self.hosts.get(*index).is_some_and(|host| host.frozen);
                actions.push(if frozen { Action::Thaw(*index) } else { Action::FindBuried(*index) });
            }
        }
    }

    fn faults(&self, left: &Faults, has_more: bool, actions: &mut Vec<Action>) {
        let hosts = || self.hosts.iter().enumerate().filter(|(_, host)| host.life == Life::Up);
        if left.lost > 0 {
            let jobs = self.jobs.iter().enumerate().filter(|(_, job)| self.can_lose(job));
            actions.extend(jobs.map(|(index, _)| Action::Lose(index)));
        }
        if left.killed > 0 {
            let killed = hosts().filter(|(index, _)| self.has_lanes(*index) && self.may_be_buried(*index));
            actions.extend(killed.map(|(index, _)| Action::Kill(index)));
        }
        if left.buried > 0 {
            let buried = hosts()
                .filter(|(index, host)| !host.frozen && self.has_lanes(*index) && self.may_be_buried(*index));
            actions.extend(buried.map(|(index, _)| Action::Bury(index)));
        }
        if left.replayed > 0 {
            let letters = self.pg.letters.rows(NOBODY).filter(|(_, letter)| letter.open);
            actions.extend(letters.map(|(seq, _)| Action::Replay(*seq)));
        }
        if left.rebalanced > 0 {
            actions.extend((0..self.setup.partitions.len()).map(Action::Rebalance));
        }
        if left.foreign > 0 {
            actions.push(Action::WriteState);
        }
        if left.jumps > 0 && has_more {
            actions.push(Action::Jump);
        }
    }

    /// Tells whether it matters that the client misses what becomes of it.
    fn can_lose(&self, job: &Job) -> bool {
        let frozen = job.host.and_then(|(index, _)| self.hosts.get(index)).is_some_and(|host| host.frozen);
        !frozen
            && self.hears(job)
            && matches!(&*job.task, Task::Command(command) if !matches!(command, Command::DrawSeqs(_)))
    }

    fn has_lanes(&self, index: usize) -> bool {
        let machine = self.hosts.get(index).and_then(|host| host.machine.as_ref());
        machine.is_some_and(|machine| machine.lanes().next().is_some())
    }

    /// A process can be buried by one that lives and has nothing under way, so that only its own time is lost.
    fn may_be_buried(&self, index: usize) -> bool {
        let others = self.hosts.iter().enumerate().filter(|(other, host)| *other != index && host.is_up());
        let rests = |at: usize| !self.jobs.iter().any(|job| job.host.is_some_and(|(host, _)| host == at));
        let mut others = others.peekable();
        others.peek().is_some() && others.all(|(at, host)| !host.frozen && host.calls.is_empty() && rests(at))
    }
}
