//! Jobs at the database: statement by statement, with whatever may become of them.

use std::sync::Arc;

use mailroom_core::relay::{Event, Failure};

use super::RelayWorld;
use super::event_loop::Step;
use super::host::{Host, Life};
use super::job::{Done, Job, Next, Orphan, Reply, Stage, Task, missed};
use super::setup::COMMAND_LIMIT;
use crate::postgres::locks::is_deadlock;
use crate::postgres::table::Tx;

impl RelayWorld {
    /// Starts work at the database, for a host or for somebody outside.
    pub(super) fn push_job(&mut self, host: Option<usize>, task: Task) {
        let tx = self.store.begin();
        let mut job = Job::new(task, tx, self.now, self.store.failovers);
        if let Some((index, host)) = host.and_then(|index| Some((index, self.hosts.get(index)?))) {
            (job.host, job.session) = (Some((index, host.lives)), host.session);
        }
        self.jobs.push(job);
    }

    fn client_of(&self, job: &Job) -> Option<&Host> {
        job.host.and_then(|(index, _)| self.hosts.get(index))
    }

    /// Tells whether its client runs, and nothing keeps it from going on.
    pub(super) fn can_step(&self, job: &Job) -> bool {
        let is_free = job.waits.is_none_or(|(_, epoch)| epoch != self.store.locks.epoch);
        !self.client_of(job).is_some_and(|host| host.frozen) && (is_free || self.is_over(job))
    }

    /// Tells whether its time is over, or its host does not reach Postgres.
    fn is_over(&self, job: &Job) -> bool {
        let host = self.client_of(job);
        host.is_some_and(|host| job.started + COMMAND_LIMIT <= self.now || host.cut_until > self.now)
    }

    pub(super) fn step_job(&mut self, at: usize) {
        let Some(job) = self.jobs.get(at) else { return };
        if self.is_over(job) && !matches!(job.stage, Stage::Replying(_)) {
            self.lose(at, true);
            return;
        }
        let mut job = self.jobs.remove(at);
        match std::mem::replace(&mut job.stage, Stage::Running) {
            Stage::Running => self.run_statement(at, job),
            Stage::Committing(next) => {
                self.commit(job.tx, &Arc::clone(&job.task));
                match next {
                    Next::Reply(reply) => job.stage = Stage::Replying(reply),
                    Next::Statement => {
                        job.step += 1;
                        job.tx = self.store.begin();
                    }
                }
                self.jobs.insert(at, job);
            }
            Stage::Replying(reply) => self.reply(&job, reply),
        }
    }

    fn run_statement(&mut self, at: usize, mut job: Job) {
        let done = job.statement(&mut self.store, &self.setup, self.now);
        job.waits = None;
        match done {
            Done::Wait(blocker) if self.is_deadlock(job.tx, blocker) => {
                self.store.end(job.tx, false);
                job.stage = Stage::Replying(missed(&job.task, 50, false));
            }
            Done::Wait(blocker) => job.waits = Some((blocker, self.store.locks.epoch)),
            Done::Next => job.step += 1,
            Done::Commit(next) => job.stage = Stage::Committing(next),
            Done::Rollback(reply) => {
                self.store.end(job.tx, false);
                job.stage = Stage::Replying(reply);
            }
        }
        self.jobs.insert(at, job);
    }

    fn is_deadlock(&self, tx: Tx, blocker: Tx) -> bool {
        is_deadlock(tx, blocker, self.jobs.iter().filter_map(|job| Some((job.tx, job.waits?.0))))
    }

    fn commit(&mut self, tx: Tx, task: &Task) {
        let changes = self.store.end(tx, true);
        self.check_committed(task, &changes);
        if matches!(task, Task::Replay(_)) {
            self.wake_hosts();
        }
    }

    fn reply(&mut self, job: &Job, reply: Reply) {
        let Some((index, lives)) = job.host else { return };
        let Some(host) = self.hosts.get_mut(index).filter(|host| host.lives == lives) else { return };
        let relays = host.relays();
        match reply {
            Reply::Beaten(there) => self.beaten(index, job.started, Some(there)),
            Reply::BeatMissed => self.beaten(index, job.started, None),
            Reply::Shared(taken) => self.shared(index, taken),
            Reply::Looked(owned) => self.looked(index, owned.as_deref()),
            Reply::Released => {
                if let Task::Release(leases) = &*job.task {
                    self.released(index, leases);
                }
            }
            Reply::Event(event) if relays => {
                let event = self.with_wait(index, *event);
                self.turn(index, Step::Event(event));
            }
            Reply::Marked(Ok(marked), tried) if relays => {
                if let Task::Mark(batch, _) = &*job.task {
                    let is_lasting = job.server == self.store.failovers;
                    self.mark_ended(index, marked, &tried, is_lasting.then_some(&**batch));
                }
            }
            Reply::Marked(Err(failure), _) if relays => {
                let event = self.with_wait(index, Event::Marked(Err(failure)));
                self.turn(index, Step::Event(event));
            }
            Reply::Event(_) | Reply::Marked(..) | Reply::Nothing => {}
        }
    }

    /// A failure's wait is the loop's own.
    fn with_wait(
        &mut self,
        index: usize,
        mut event: Event<super::store::Message>,
    ) -> Event<super::store::Message> {
        let failure: Option<&mut Failure> = match &mut event {
            Event::Looked(Err(failure))
            | Event::LookedDue(Err(failure))
            | Event::LookedAside(Err(failure))
            | Event::Told(Err(failure))
            | Event::Marked(Err(failure)) => Some(failure),
            Event::LaneTaken(_)
            | Event::LaneWanted(_)
            | Event::LaneLost(_)
            | Event::LaneTouched(_)
            | Event::Woken
            | Event::SessionOutlasts(_)
            | Event::Looked(Ok(_))
            | Event::LookedDue(Ok(_))
            | Event::LookedAside(Ok(_))
            | Event::Delivered(_)
            | Event::Purged(_)
            | Event::Marked(Ok(_))
            | Event::Asked(_)
            | Event::Told(Ok(_))
            | Event::TimerDue
            | Event::Stop => None,
        };
        if let (Some(failure), Some(host)) = (failure, self.hosts.get_mut(index)) {
            failure.wait = std::time::Duration::from_millis(host.failed());
        }
        event
    }

    /// The client of a job hears nothing more of it: before its commit it is surely void, else nobody knows.
    pub(super) fn lose(&mut self, at: usize, connection_lost: bool) {
        let fate = self.chance(4);
        let Some(job) = self.jobs.get_mut(at) else { return };
        let reply = missed(&job.task, 50, connection_lost);
        let stage = std::mem::replace(&mut job.stage, Stage::Replying(reply));
        let was_open = !matches!(stage, Stage::Replying(_));
        let commits = matches!(stage, Stage::Committing(_)) && fate >= 1;
        job.waits = None;
        let (tx, session, task) = (job.tx, job.session, Arc::clone(&job.task));
        let how = match (was_open, commits, fate >= 2) {
            (false, _, _) => "",
            (true, true, true) => ", and will be committed",
            (true, true, false) => ", and is committed",
            (true, false, true) => ", and stays open for a while",
            (true, false, false) => ", and is rolled back",
        };
        self.history.note(|| format!("{} of {session} is lost{how}", super::history::task(&task)));
        if !was_open {
            return;
        }
        if fate >= 2 {
            let until = self.now + u64::from(self.chance(4)) * 700;
            self.orphans.push(Orphan { tx, task, commits, until });
        } else if commits {
            self.commit(tx, &task);
        } else {
            self.store.end(tx, false);
        }
    }

    /// The server ends what has no client any more.
    pub(super) fn end_orphan(&mut self, at: usize) {
        if at >= self.orphans.len() {
            return;
        }
        let orphan = self.orphans.remove(at);
        if orphan.commits {
            self.commit(orphan.tx, &orphan.task);
        } else {
            self.store.end(orphan.tx, false);
        }
    }

    /// All that a host has under way loses its client.
    pub(super) fn cut_off(&mut self, index: usize) {
        for at in 0..self.jobs.len() {
            if self.jobs.get(at).is_some_and(|job| job.host.is_some_and(|(host, _)| host == index)) {
                self.lose(at, true);
            }
        }
    }

    /// The server is another: what was open there has ended, and whoever waits for it hears that its connection is
    /// lost. Connections that were idle are made anew, and nobody hears of that.
    pub(super) fn fail_over(&mut self, ahead: i64) {
        for orphan in std::mem::take(&mut self.orphans) {
            self.store.end(orphan.tx, false);
        }
        for application in std::mem::take(&mut self.applications) {
            self.store.end(application.tx, false);
        }
        for at in 0..self.jobs.len() {
            let Some(job) = self.jobs.get_mut(at).filter(|job| !matches!(job.stage, Stage::Replying(_)))
            else {
                continue;
            };
            job.stage = Stage::Replying(missed(&job.task, 50, true));
            job.waits = None;
            let tx = job.tx;
            self.store.end(tx, false);
        }
        self.store.fail_over(ahead);
        for host in &mut self.hosts {
            host.marked.clear();
        }
    }

    /// Tells whether a host that gives its lanes back is done with it, as far as it knows.
    pub(super) fn has_left(&self, index: usize, host: &Host) -> bool {
        let is_at_work =
            |job: &Job| job.host == Some((index, host.lives)) && matches!(&*job.task, Task::Release(_));
        host.life == Life::Leaving && !self.jobs.iter().any(is_at_work)
    }
}
