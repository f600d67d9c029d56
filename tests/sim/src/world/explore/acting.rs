//! Execution of an explored world's actions.

use mailroom_core::handler_machine::event::Event;
use mailroom_core::ids::TopicPartition;
use mailroom_core::time::Moment;

use super::{Action, FROZEN_MAX, Faults, UNAWARE_MAX};
use crate::host::Life;
use crate::job::{Stage, Task};
use crate::kafka::Told;
use crate::postgres::StateId;
use crate::postgres::operator::Act;
use crate::setup::EXPIRY;
use crate::world::{Doing, World};

impl World {
    /// Does it.
    pub(crate) fn act(&mut self, action: Action) {
        let is_swap =
            matches!(action, Action::Do(_)) && self.eager().first().is_some_and(|first| *first != action);
        if let Some(explored) =
            self.explored.as_mut().filter(|explored| is_swap && explored.pace.swaps.is_some())
        {
            explored.swapped = explored.swapped.saturating_add(1);
        }
        let spent = self.explored.as_mut().map(|explored| spend(&mut explored.left, action));
        if spent == Some(true) && !matches!(action, Action::Replay(_)) {
            self.last_fault = self.now;
        }
        match action {
            Action::Do(Doing::Job(index)) => self.go_on(index),
            Action::Do(Doing::Call(host, call)) => {
                while self.hosts.get(host).is_some_and(|host| {
                    host.calls.get(&call).is_some_and(|running| running.until <= self.now)
                }) {
                    self.step_call(host, call);
                }
            }
            Action::Do(Doing::Poll(host)) => {
                let empty = self.hosts.get(host).is_some_and(|host| host.consumer.told.is_empty());
                self.poll(host);
                if empty && self.explored.as_ref().is_some_and(|explored| !explored.pace.polls) {
                    self.hand_over(host);
                }
            }
            Action::Do(Doing::Look(host)) => {
                self.start_look(host);
                if self.explored.as_ref().is_some_and(|explored| !explored.pace.looks) {
                    self.go_on(self.jobs.len().saturating_sub(1));
                }
            }
            Action::Do(doing) => self.do_this(doing),
            Action::Pass | Action::Jump => self.let_time_pass(),
            Action::Lose(index) => self.lose(index),
            Action::Kill(host) => self.kill_and_bury(host),
            Action::Bury(host) => self.bury_living(host),
            Action::Thaw(host) => self.thaw(host),
            Action::FindBuried(host) => {
                if let Some(explored) = &mut self.explored {
                    explored.buried.retain(|(index, _)| *index != host);
                }
                self.history.note(|| format!("h{host} finds itself buried"));
                self.begin_session(host);
                self.let_live();
            }
            Action::Replay(seq) => {
                self.history.note(|| format!("an operator replays {seq}"));
                self.push_job(None, Task::Act(Act::Replay(seq)), None);
            }
            Action::Rebalance(partition) => self.give_to_next(partition),
            Action::Produce => {
                let late = self.explored.as_mut().and_then(|explored| explored.late.pop());
                if let Some((partition, record)) = late {
                    self.history.note(|| format!("a record for partition {partition}: {record:?}"));
                    self.append(partition, record);
                }
            }
            Action::WriteState => self.push_job(None, Task::Act(Act::Write(StateId::Shared(0))), None),
        }
        self.forget_unheard();
    }

    /// Takes away jobs of which nothing can come any more, since nobody hears their replies.
    fn forget_unheard(&mut self) {
        let mut jobs = std::mem::take(&mut self.jobs);
        jobs.retain(|job| {
            let is_nothing = matches!(job.stage, Stage::Replying(_)) || !job.believes();
            self.hears(job) || !is_nothing
        });
        self.jobs = jobs;
    }

    /// A job's next step, or several where nobody could tell them apart.
    fn go_on(&mut self, index: usize) {
        let Some(id) = self.jobs.get(index).map(|job| job.id) else { return };
        let pace = self.explored.as_ref().map(|explored| explored.pace).unwrap_or_default();
        loop {
            self.step_job(index);
            let Some(job) = self.jobs.get(index).filter(|job| job.id == id) else { return };
            let goes_on = match &job.stage {
                Stage::Running => !pace.statements && job.waits.is_none(),
                Stage::Committing(_) => job.is_alone() || job.finds_nothing(),
                Stage::Replying(_) => {
                    job.finds_nothing() || (!pace.looks && matches!(&*job.task, Task::Look))
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Time passes; sessions are renewed meanwhile by hosts that run and were not buried.
    fn let_time_pass(&mut self) {
        let frozen = self.explored.iter().flat_map(|explored| &explored.buried).map(|(_, by)| *by);
        let late = self.explored.iter().filter(|explored| !explored.late.is_empty()).map(|of| of.late_by);
        let own = frozen.chain(late).filter(|by| *by > self.now).min();
        let next = self.next_moment().into_iter().chain(own).min().unwrap_or(self.now + 100);
        self.advance(next - self.now);
        self.let_live();
    }

    /// Sessions of hosts that run are renewed at once: heartbeats are not tried.
    pub(super) fn let_live(&mut self) {
        let until = self.now + EXPIRY;
        for index in 0..self.hosts.len() {
            let Some(host) = self.hosts.get_mut(index).filter(|host| host.is_up() && !host.frozen) else {
                continue;
            };
            host.next_beat = u64::MAX;
            let session = host.session;
            let tx = self.pg.begin();
            let lives = self.pg.hosts.update(tx, &session, |host| host.expires_at = until);
            self.pg.hosts.end(tx, true);
            if lives {
                self.feed(index, Event::SessionRenewed(Moment(until)));
            }
        }
    }

    /// A process is frozen for as long as it takes to be buried.
    fn bury_living(&mut self, index: usize) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.frozen = true;
        self.history.note(|| format!("h{index} is frozen"));
        self.let_expire(index);
        let by = self.now + FROZEN_MAX;
        if let Some(explored) = &mut self.explored {
            explored.buried.push((index, by));
        }
    }

    /// A process dies, and is buried.
    fn kill_and_bury(&mut self, index: usize) {
        if let Some(host) = self.hosts.get_mut(index) {
            host.frozen = true;
        }
        self.let_expire(index);
        self.kill(index);
    }

    /// Time passes until a process that is frozen is buried, in which the others do nothing but live.
    fn let_expire(&mut self, index: usize) {
        self.advance(EXPIRY + 1);
        self.last_fault = self.now;
        self.let_live();
        let tx = self.pg.begin();
        let by = self.hosts.iter().find(|host| host.is_up() && !host.frozen).map(|host| host.session);
        self.pg.bury(tx, by, self.now);
        self.pg.end(tx, true);
        self.pg.note_free_lanes(self.now);
        self.history.note(|| format!("h{index} is buried"));
    }

    fn thaw(&mut self, index: usize) {
        let by = self.now + UNAWARE_MAX;
        self.history.note(|| format!("h{index} goes on"));
        if let Some(host) = self.hosts.get_mut(index) {
            host.frozen = false;
        }
        let buried = self.explored.iter_mut().flat_map(|explored| &mut explored.buried);
        buried.filter(|(of, _)| *of == index).for_each(|(_, until)| *until = by);
    }

    /// The coordinator gives a partition to the next host that is up.
    fn give_to_next(&mut self, partition: usize) {
        let Some(of) = self.setup.partitions.get(partition).cloned() else { return };
        let from = self.kafka.owners.get(&of).copied().unwrap_or(0);
        let count = self.hosts.len();
        let next = (1..=count).map(|by| (from + by) % count);
        let is_up = |at: &usize| self.hosts.get(*at).is_some_and(|host| host.life == Life::Up);
        if let Some(to) = next.clone().find(is_up) {
            self.give(of, from, to);
        }
    }

    fn give(&mut self, partition: TopicPartition, from: usize, to: usize) {
        if from == to {
            return;
        }
        self.history.note(|| format!("Kafka gives {partition} to h{to}"));
        self.kafka.owners.insert(partition.clone(), to);
        if let Some(host) = self.hosts.get_mut(from).filter(|host| host.is_up()) {
            host.consumer.fetches.remove(&partition);
            host.consumer.told.push_back(Told::Revoked(vec![partition.clone()]));
        }
        if let Some(host) = self.hosts.get_mut(to) {
            host.consumer.told.push_back(Told::Assigned(vec![partition]));
        }
    }
}

/// Takes a fault off what is left; says whether it was one.
fn spend(left: &mut Faults, action: Action) -> bool {
    let of = match action {
        Action::Jump => &mut left.jumps,
        Action::Lose(_) => &mut left.lost,
        Action::Kill(_) => &mut left.killed,
        Action::Bury(_) => &mut left.buried,
        Action::Replay(_) => &mut left.replayed,
        Action::Rebalance(_) => &mut left.rebalanced,
        Action::WriteState => &mut left.foreign,
        Action::Do(_) | Action::Pass | Action::Thaw(_) | Action::FindBuried(_) | Action::Produce => {
            return false;
        }
    };
    *of = of.saturating_sub(1);
    true
}
