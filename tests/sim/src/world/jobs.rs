//! Jobs at the database: statement by statement, with whatever may become of them.

use std::sync::Arc;

use mailroom_core::handler_machine::command::Command;
use mailroom_core::handler_machine::event::{Event, Failure, SqlOutcome, WriteOutcome};

use mailroom_core::ids::Lease;

use super::World;
use super::explore::ORPHANED_MAX;
use crate::guest::{Effects, KeyState};
use crate::job::{Job, Lost, Orphan, Reply, Stage, Task, missed};
use crate::postgres::locks::is_deadlock;
use crate::postgres::table::Tx;
use crate::postgres::{Flow, Session};
use crate::setup::COMMAND_LIMIT;
use crate::twin::Deed;

impl World {
    pub(super) fn start_command(&mut self, index: usize, command: Command<KeyState, Effects>) {
        let Command::SettleSql { call, .. } = &command else {
            self.push_job(Some(index), Task::Command(command), None);
            return;
        };
        let open = self.hosts.get_mut(index).and_then(|host| host.open.remove(call));
        let is_gone = open.is_none();
        self.push_job(Some(index), Task::Command(command), open.map(|open| open.tx));
        if let Some(job) = self.jobs.last_mut().filter(|_| is_gone) {
            // Its transaction was idle for too long.
            job.stage = Stage::Replying(missed(&job.task, &Lost::NotDone(Failure::Away)));
        }
    }

    /// Starts work at the database, for a host or for somebody outside.
    pub(super) fn push_job(&mut self, host: Option<usize>, task: Task, tx: Option<Tx>) {
        let tx = tx.unwrap_or_else(|| self.pg.begin());
        self.last_job += 1;
        let of = host.and_then(|index| self.hosts.get(index).map(|host| (index, host)));
        let session = of.map_or(Session(0), |(_, host)| host.session);
        let mut job = Job {
            id: self.last_job,
            host: of.map(|(index, host)| (index, host.lives)),
            ..Job::loose(session, self.now, task, tx)
        };
        if self.is_witnessed {
            self.do_whole(&mut job);
        }
        self.jobs.push(job);
    }

    /// Tells whether its client runs, and nothing keeps it from going on.
    pub(super) fn can_step(&self, job: &Job) -> bool {
        let host = job.host.and_then(|(index, _)| self.hosts.get(index));
        let is_free = job.waits.is_none_or(|(_, epoch)| epoch != self.pg.locks.epoch);
        !host.is_some_and(|host| host.frozen) && (is_free || self.is_over(job))
    }

    /// Tells whether its time is over, or its host does not reach Postgres.
    pub(super) fn is_over(&self, job: &Job) -> bool {
        let host = job.host.and_then(|(index, _)| self.hosts.get(index));
        host.is_some_and(|host| job.started + COMMAND_LIMIT <= self.now || host.cut_until > self.now)
    }

    pub(super) fn step_job(&mut self, index: usize) {
        let Some(job) = self.jobs.get(index) else { return };
        if self.is_over(job) && !matches!(job.stage, Stage::Replying(_)) {
            self.lose(index);
            return;
        }
        let mut job = self.jobs.remove(index);
        match std::mem::replace(&mut job.stage, Stage::Running) {
            Stage::Running => self.run_statement(index, job),
            Stage::Committing(reply) => {
                let task = Arc::clone(&job.task);
                self.commit(job.tx, job.session, &task);
                job.stage = Stage::Replying(reply);
                self.jobs.insert(index, job);
            }
            Stage::Replying(reply) => self.reply(&job, reply),
        }
    }

    fn run_statement(&mut self, index: usize, mut job: Job) {
        let flow = job.statement(&mut self.pg, &self.kafka, self.now);
        job.waits = None;
        match flow {
            Flow::Wait(blocker) => {
                if self.is_deadlock(job.tx, blocker) {
                    self.history.note(|| format!("deadlock: job {} is aborted", job.id));
                    self.pg.end(job.tx, false);
                    job.stage = Stage::Replying(missed(&job.task, &Lost::NotDone(Failure::Away)));
                } else {
                    job.waits = Some((blocker, self.pg.locks.epoch));
                }
            }
            Flow::Next => job.step += 1,
            Flow::Commit(reply) if job.believes() => job.stage = Stage::Committing(reply),
            Flow::Commit(reply) => {
                self.pg.end(job.tx, true);
                job.stage = Stage::Replying(reply);
            }
            Flow::Rollback(reply) => {
                self.pg.end(job.tx, false);
                job.stage = Stage::Replying(reply);
            }
        }
        self.jobs.insert(index, job);
    }

    fn is_deadlock(&self, tx: Tx, blocker: Tx) -> bool {
        is_deadlock(tx, blocker, self.jobs.iter().filter_map(|job| Some((job.tx, job.waits?.0))))
    }

    pub(super) fn commit(&mut self, tx: Tx, session: Session, task: &Task) {
        self.check_owner(tx, session, task);
        let fenced_at = self.pg.fenced_at.get(&tx).copied().unwrap_or(self.pg.commits);
        let committed = self.pg.end(tx, true);
        self.history.note_some(|| crate::history::committed(session, task, &committed));
        if let Err(breach) = self.oracle.committed(&self.pg, &self.kafka, &committed, task, fenced_at) {
            self.violate(breach.rule, breach.text);
        }
    }

    /// Nothing is written for a lane but by the session that has it.
    fn check_owner(&mut self, tx: Tx, session: Session, task: &Task) {
        let leases: Vec<Lease> = if let Task::Command(Command::Write(write)) = task {
            write.lanes.iter().map(|lane| lane.lease).collect()
        } else if let Task::Command(Command::SettleSql { lease, .. }) = task {
            vec![*lease]
        } else {
            return;
        };
        for lane in self.pg.strangers(tx, session, &leases) {
            self.violate("S8", format!("{session} commits for lane {lane}, which it does not have"));
        }
    }

    fn reply(&mut self, job: &Job, reply: Reply) {
        let Some((index, _)) = job.host else { return };
        if !self.hears(job) {
            return;
        }
        if matches!(&*job.task, Task::Look) {
            self.looked(index);
        }
        match reply {
            Reply::Event(event) => {
                self.forget_shared(index, &event);
                if let Event::Looked(look) = &*event {
                    self.sweep(index, look);
                }
                self.feed(index, *event);
            }
            Reply::Beaten(there) => self.beaten(index, job.started, there),
            Reply::Buried => {
                self.pg.note_free_lanes(self.now);
                self.testify(&Deed::NotedFreeLanes);
            }
            Reply::Nothing if matches!(&*job.task, Task::Beat) => self.beat_failed(index),
            Reply::Nothing => {}
        }
    }

    /// Forgets what lost a race, or was written: the next call that needs it reads it again.
    fn forget_shared(&mut self, index: usize, event: &Event<KeyState, Effects>) {
        let changed = if let Event::Written { outcome, .. } = event {
            matches!(outcome, WriteOutcome::StateLost(_) | WriteOutcome::Done(_))
        } else if let Event::SqlSettled { outcome, .. } = event {
            matches!(outcome, SqlOutcome::Again | SqlOutcome::Done { .. })
        } else {
            false
        };
        if let Some(host) = self.hosts.get_mut(index).filter(|_| changed) {
            host.shared.clear();
        }
    }

    /// Draws how a job ends whose client is gone; where all is tried, from fates that differ.
    fn fate(&mut self, index: usize) -> u32 {
        if self.explored.is_none() {
            return self.chance(4);
        }
        let Some(job) = self.jobs.get(index) else { return 0 };
        let fates: &[u32] = match &job.stage {
            Stage::Running if !job.believes() => &[0],
            Stage::Running if self.hears(job) => &[0, 2, 3],
            Stage::Running => &[0],
            Stage::Committing(_) => &[0, 1, 2],
            Stage::Replying(_) => &[0],
        };
        self.choices.pick(fates).unwrap_or(0)
    }

    /// Tells whether the client of a job is the life of a host that lives.
    pub(super) fn hears(&self, job: &Job) -> bool {
        let host = job.host.and_then(|(index, lives)| Some((self.hosts.get(index)?, lives)));
        host.is_some_and(|(host, lives)| host.is_up() && host.lives == lives)
    }

    /// The client of a job hears nothing more of it: before its commit it is surely void, else nobody knows.
    pub(super) fn lose(&mut self, index: usize) {
        let fate = self.fate(index);
        let Some(job) = self.jobs.get_mut(index) else { return };
        let believes = job.believes();
        let stage = std::mem::replace(&mut job.stage, Stage::Running);
        let lost = match stage {
            Stage::Running if fate == 3 && believes => Lost::NotDone(Failure::TooMuch),
            Stage::Running => Lost::NotDone(Failure::Away),
            Stage::Replying(_) if !believes && fate < 2 => Lost::NotDone(Failure::Away),
            // Rolled back with an answer, or committed: the client knows neither.
            Stage::Committing(_) | Stage::Replying(_) => Lost::Unknown,
        };
        let was_open = !matches!(stage, Stage::Replying(_));
        let commits = matches!(stage, Stage::Committing(_)) && fate >= 1;
        job.stage = Stage::Replying(missed(&job.task, &lost));
        job.waits = None;
        let (tx, session, task) = (job.tx, job.session, Arc::clone(&job.task));
        let name = crate::history::task(&task);
        self.history
            .note(|| format!("{name} of {session} is lost: {lost:?}{}", fate_words(was_open, commits, fate)));
        if !was_open {
            return;
        }
        if fate >= 2 {
            // Where all is tried, it may end at any time before.
            let wait = if self.explored.is_some() { ORPHANED_MAX } else { u64::from(self.chance(4)) * 700 };
            let until = self.now + wait;
            self.orphans.push(Orphan { tx, session, task, commits, until });
        } else if commits {
            self.commit(tx, session, &task);
        } else {
            self.pg.end(tx, false);
        }
    }

    /// The server ends what has no client any more.
    pub(super) fn end_orphan(&mut self, index: usize) {
        if index >= self.orphans.len() {
            return;
        }
        let orphan = self.orphans.remove(index);
        if orphan.commits {
            self.commit(orphan.tx, orphan.session, &orphan.task);
        } else {
            self.pg.end(orphan.tx, false);
        }
    }

    /// All that a host has under way loses its client.
    pub(super) fn cut_off(&mut self, index: usize) {
        for at in 0..self.jobs.len() {
            if self.jobs.get(at).is_some_and(|job| job.host.is_some_and(|(host, _)| host == index)) {
                self.lose(at);
            }
        }
    }
}

fn fate_words(was_open: bool, commits: bool, fate: u32) -> &'static str {
    match (was_open, commits, fate >= 2) {
        (false, _, _) => "",
        (true, true, true) => ", and will be committed",
        (true, true, false) => ", and is committed",
        (true, false, true) => ", and stays open for a while",
        (true, false, false) => ", and is rolled back",
    }
}
