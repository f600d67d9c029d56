//! Injections into a run: records, faults, operators.

use std::sync::Arc;

use mailroom_core::handler_machine::event::Event;
use mailroom_core::ids::{LaneId, OrderKey, Seq};

use super::World;
use crate::guest::{Act as Call, Script};
use crate::host::Life;
use crate::job::Task;
use crate::kafka::{Record, Told};
use crate::postgres::operator::Act;
use crate::postgres::table::NOBODY;
use crate::postgres::{Row, StateId};
use crate::setup::{Hazard, draw_version, shared};

impl World {
    /// One step while faults may happen.
    pub(crate) fn step(&mut self) {
        match self.choices.hazard(&self.setup.hazards) {
            None => self.progress(),
            Some(hazard) => self.inject(hazard),
        }
        self.choices.end_step();
    }

    fn inject(&mut self, hazard: Hazard) {
        self.coverage.hazard(hazard);
        self.do_harm(hazard);
        if !matches!(hazard, Hazard::Produce | Hazard::Operator | Hazard::Reload | Hazard::Foreign) {
            self.last_fault = self.now;
        }
    }

    fn do_harm(&mut self, hazard: Hazard) {
        match hazard {
            Hazard::Produce => self.produce(),
            Hazard::TimeJump => self.jump(),
            Hazard::LostReply => self.lose_reply(),
            Hazard::Refusal => self.refuse(),
            Hazard::Kill => self.kill_or_restart(),
            Hazard::Freeze => self.freeze_or_thaw(),
            Hazard::Cut => self.cut(),
            Hazard::Stop => {
                let host = self.choices.index(self.hosts.len());
                self.stop(host);
            }
            Hazard::Rebalance => {
                let partition = self.choices.index(self.setup.partitions.len());
                self.rebalance(partition);
            }
            Hazard::Operator => self.operate(),
            Hazard::Reload => self.reload(),
            Hazard::Foreign => {
                let id = StateId::Shared(self.choices.draw(2));
                self.push_job(None, Task::Act(Act::Write(id)), None);
            }
            Hazard::Displace => self.displace(),
        }
    }

    /// A record, or another one of a message that is there already.
    pub(super) fn produce(&mut self) {
        let Some(partition) = self.setup.partitions.get(self.choices.index(self.setup.partitions.len()))
        else {
            return;
        };
        let partition = partition.clone();
        let key = self.choices.draw(self.setup.keys + 1).checked_sub(0);
        let key = key.filter(|key| *key < self.setup.keys);
        let is_again = self.choices.percent(12) && !self.sent_to.is_empty();
        let again = is_again.then(|| self.choices.index(self.sent_to.len()));
        // An id counts within its topic.
        let again = again.filter(|place| self.sent_to.get(*place) == Some(&partition.topic));
        let place = again.unwrap_or(self.sent_to.len());
        let message_id = format!("m{}", place + 1);
        if again.is_none() {
            self.sent_to.push(Arc::clone(&partition.topic));
            let script = self.draw_script();
            self.kafka.scripts.insert(message_id.clone(), script);
        }
        let oddity = self.choices.weighted(&[92, 4, 3, 2, 1]);
        let record = Record {
            key,
            message_id,
            matched: oddity != 1,
            unfit: oddity == 2,
            refusal: match oddity {
                3 => Some(false),
                4 => Some(true),
                _ => None,
            },
        };
        self.history.note(|| format!("a record for {partition}: {record:?}"));
        if let Some(log) = self.kafka.logs.get_mut(&partition) {
            log.append(record);
        }
    }

    fn draw_script(&mut self) -> Script {
        let acts = self.setup.acts.clone();
        let count = 1 + self.choices.weighted(&[6, 3, 1]);
        let mut script = Vec::new();
        for _ in 0..count {
            script.push(self.choices.pick(&acts).unwrap_or(Call::Complete));
        }
        // Nothing waits for ever.
        if matches!(script.last(), Some(Call::RetrySoon | Call::RetryLater | Call::RetryUncounted)) {
            script.push(Call::Complete);
        }
        Script(script)
    }

    fn jump(&mut self) {
        match self.choices.draw(6) {
            0 | 1 => self.pass_time(),
            2 => self.advance(10),
            3 => self.advance(150),
            4 => self.advance(1000),
            _ => self.advance(3000),
        }
    }

    fn lose_reply(&mut self) {
        let at_end: Vec<usize> = self
            .jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| job.host.is_some() && job.is_ending())
            .map(|(index, _)| index)
            .collect();
        if let Some(index) = self.choices.pick(&at_end) {
            self.lose(index);
        }
    }

    fn refuse(&mut self) {
        let open: Vec<usize> = self
            .jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| job.host.is_some() && !job.is_ending())
            .map(|(index, _)| index)
            .collect();
        if let Some(index) = self.choices.pick(&open) {
            self.lose(index);
        }
    }

    fn kill_or_restart(&mut self) {
        let index = self.choices.index(self.hosts.len());
        if self.hosts.get(index).is_some_and(|host| host.life == Life::Down) {
            self.start(index);
        } else {
            self.kill(index);
        }
    }

    fn freeze_or_thaw(&mut self) {
        let index = self.whom_to_freeze();
        let Some(host) = self.hosts.get_mut(index) else { return };
        if host.life == Life::Down {
            self.start(index);
            return;
        }
        if host.frozen && self.has_its_lanes(index) && !self.choices.percent(10) {
            return;
        }
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.frozen = !host.frozen;
        let frozen = host.frozen;
        self.history.note(|| format!("h{index} {}", if frozen { "is frozen" } else { "goes on" }));
        if frozen && self.choices.percent(50) {
            self.advance(7000);
        }
    }

    /// Draws a host; half of the times one with a call whose transaction is open, since it shows only there what
    /// becomes of that transaction when the lane has another owner.
    fn whom_to_freeze(&mut self) -> usize {
        let at_work = self.hosts.iter().enumerate().filter(|(_, host)| !host.frozen && host.has_open());
        let at_work: Vec<usize> = at_work.map(|(index, _)| index).collect();
        let chosen = if self.choices.percent(50) { self.choices.pick(&at_work) } else { None };
        chosen.unwrap_or_else(|| self.choices.index(self.hosts.len()))
    }

    /// Tells whether a call of a host has a transaction open, and its lane no other owner yet.
    fn has_its_lanes(&self, index: usize) -> bool {
        let Some(host) = self.hosts.get(index) else { return false };
        let mut leases =
            host.calls.values().filter(|running| running.tx.is_some()).map(|running| running.call.lease);
        leases
            .any(|lease| self.pg.lanes.get(NOBODY, &lease.lane).is_some_and(|lane| lane.token == lease.token))
    }

    /// A host, or all, do not reach Postgres for a while.
    fn cut(&mut self) {
        let millis = [200, 1000, 3000, 8000];
        let until = self.now + self.choices.pick(&millis).unwrap_or(200);
        let all = self.choices.percent(30);
        let chosen = self.choices.index(self.hosts.len());
        for index in (0..self.hosts.len()).filter(|index| all || *index == chosen) {
            self.history.note(|| format!("h{index} does not reach Postgres until {until}"));
            if let Some(host) = self.hosts.get_mut(index) {
                host.cut_until = until;
            }
            self.cut_off(index);
        }
    }

    fn operate(&mut self) {
        let kind = self.choices.draw(8);
        let letters: Vec<Seq> =
            self.pg.letters.rows(NOBODY).filter(|(_, letter)| letter.open).map(|(seq, _)| *seq).collect();
        let blocks: Vec<(LaneId, OrderKey)> = self.pg.blocked.rows(NOBODY).map(|(block, _)| *block).collect();
        let pending: Vec<Seq> =
            self.pg.inbox.rows(NOBODY).filter(|(_, row)| Row::is_pending(row)).map(|(seq, _)| *seq).collect();
        let act = match kind {
            // The newest is the one whose messages are on their way.
            0..=1 => letters.last().copied().map(Act::Replay),
            2 => self.choices.pick(&letters).map(Act::Replay),
            3 => self.choices.pick(&letters).map(Act::Discard),
            4 => self.choices.pick(&blocks).map(|(lane, key)| Act::Unlock(lane, key)),
            5 if self.pg.paused.get(NOBODY, &()).is_some() => Some(Act::Resume),
            5 => Some(Act::Pause),
            6 => self.choices.pick(&pending).map(Act::Hasten),
            _ => self.choices.pick(&pending).map(Act::Complete),
        };
        if let Some(act) = act {
            self.history.note(|| format!("an operator: {act:?}"));
            self.push_job(None, Task::Act(act), None);
        }
    }

    fn reload(&mut self) {
        self.last_version += 1;
        let version = shared(&draw_version(&mut self.choices, self.last_version, self.setup.version.once));
        for index in 0..self.hosts.len() {
            let Some(host) = self.hosts.get_mut(index) else { continue };
            host.version = Arc::clone(&version);
            if host.is_up() {
                self.feed(index, Event::VersionChanged(Arc::clone(&version)));
            }
        }
    }

    fn displace(&mut self) {
        let index = self.choices.index(self.hosts.len());
        let Some(host) = self.hosts.get_mut(index) else { return };
        let fetched: Vec<_> = host.consumer.fetches.keys().cloned().collect();
        if let Some(partition) = fetched.get(self.choices.index(fetched.len())) {
            host.consumer.told.push_back(Told::Displaced(vec![partition.clone()]));
        }
    }

    /// Faults stop: servers answer, operators rest, whoever was frozen goes on, somebody is there.
    pub(crate) fn calm_down(&mut self) {
        self.history.note(|| "all is calm from here".to_owned());
        self.calm = Some(fastrand::Rng::with_seed(self.setup.calm_seed));
        for host in &mut self.hosts {
            host.frozen = false;
            host.cut_until = 0;
        }
        // Nobody pauses anything any more.
        for job in self.jobs.extract_if(.., |job| job.host.is_none()) {
            self.pg.end(job.tx, false);
        }
        self.push_job(None, Task::Act(Act::Resume), None);
        let all = self.chance(2) == 1;
        for index in 0..self.hosts.len() {
            let none_up = self.hosts.iter().all(|host| host.life != Life::Up);
            if self.hosts.get(index).is_some_and(|host| host.life == Life::Down) && (all || none_up) {
                self.start(index);
            }
        }
        self.last_fault = self.now;
    }
}
