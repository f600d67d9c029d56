//! Injections into a run: rows, faults, operators.

use super::RelayWorld;
use super::broker::Topic;
use super::host::Life;
use super::job::Task;
use super::setup::Hazard;
use super::store::Status;
use crate::postgres::table::NOBODY;

impl RelayWorld {
    /// One step while faults may happen.
    pub(super) fn disturbed_step(&mut self) {
        match self.choices.hazard(&self.setup.hazards) {
            None => self.advance_one(),
            Some(hazard) => self.inject(hazard),
        }
        self.choices.end_step();
    }

    fn inject(&mut self, hazard: Hazard) {
        self.coverage.count_relay(&format!("hazard {hazard:?}"));
        match hazard {
            Hazard::Insert => self.begin_application(),
            Hazard::TimeJump => match self.choices.draw(6) {
                0 | 1 => self.pass_time(),
                2 => self.advance(10),
                3 => self.advance(150),
                4 => self.advance(700),
                _ => self.advance(1600),
            },
            Hazard::LostReply => self.lose_some(true),
            Hazard::Refusal => self.lose_some(false),
            Hazard::LostRequest => self.lose_request(),
            Hazard::Fatal => self.fail_client(),
            Hazard::Missing => self.change_topic(open_or_close),
            Hazard::Leaderless => self.change_topic(lead_or_not),
            Hazard::Limits => self.change_topic(change_limits),
            Hazard::Kill => self.kill_or_restart(),
            Hazard::Freeze => self.freeze_or_thaw(),
            Hazard::Cut | Hazard::CutKafka => self.cut(hazard),
            Hazard::Stop => {
                let host = self.choices.index(self.hosts.len());
                self.stop(host);
            }
            Hazard::Operator => self.operate(),
            Hazard::Failover => self.replicate_or_fail_over(),
        }
    }

    fn lose_some(&mut self, at_end: bool) {
        let jobs = self.jobs.iter().enumerate();
        let jobs = jobs.filter(|(_, job)| job.host.is_some() && job.is_ending() == at_end);
        let jobs: Vec<usize> = jobs.map(|(at, _)| at).collect();
        let connection_lost = self.choices.percent(50);
        if let Some(at) = self.choices.pick(&jobs) {
            self.lose(at, connection_lost);
        }
    }

    fn fail_client(&mut self) {
        let index = self.choices.index(self.hosts.len());
        let clients = self.hosts.get(index).map_or(0, |host| host.clients.all.len());
        let chosen = self.choices.index(clients);
        let Some(host) = self.hosts.get_mut(index) else { return };
        if let Some((id, client)) = host.clients.all.iter_mut().nth(chosen) {
            client.fatal = true;
            self.history.note(|| format!("producer {} of h{index} fails", id.0));
        }
    }

    /// Changes a topic; the change says what it was.
    fn change_topic(&mut self, change: fn(&mut Topic, u32) -> &'static str) {
        let place = self.choices.index(self.kafka.topics.len());
        let drawn = self.choices.draw(4);
        if let Some(topic) = self.kafka.topics.get_mut(place) {
            let said = change(topic, drawn);
            let name = self.setup.topics.get(place).map_or("", |name| name);
            self.history.note(|| format!("topic {name} {said}"));
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
        let index = self.choices.index(self.hosts.len());
        let is_long = self.choices.percent(50);
        let Some(host) = self.hosts.get_mut(index) else { return };
        if host.life == Life::Down {
            self.start(index);
            return;
        }
        host.frozen = !host.frozen;
        let frozen = host.frozen;
        self.history.note(|| format!("h{index} {}", if frozen { "is frozen" } else { "goes on" }));
        if frozen && is_long {
            self.advance(3500);
        }
    }

    /// A host, or all, do not reach a server for a while.
    fn cut(&mut self, hazard: Hazard) {
        let until = self.now + self.choices.pick(&[200, 1000, 2500, 4000]).unwrap_or(200);
        let all = self.choices.percent(30);
        let chosen = self.choices.index(self.hosts.len());
        let server = if hazard == Hazard::Cut { "Postgres" } else { "Kafka" };
        for index in (0..self.hosts.len()).filter(|index| all || *index == chosen) {
            self.history.note(|| format!("h{index} does not reach {server} until {until}"));
            let Some(host) = self.hosts.get_mut(index) else { continue };
            if hazard == Hazard::Cut {
                host.cut_until = until;
                self.cut_off(index);
            } else {
                host.kafka_cut_until = until;
            }
        }
    }

    fn operate(&mut self) {
        let dead = self.store.outbox.rows(NOBODY).filter(|(_, row)| row.status == Status::Failed);
        let dead: Vec<i64> = dead.map(|(seq, _)| *seq).collect();
        if let Some(seq) = self.choices.pick(&dead) {
            self.history.note(|| format!("an operator replays row {seq}"));
            self.push_job(None, Task::Replay(seq));
        }
    }

    fn replicate_or_fail_over(&mut self) {
        if self.choices.draw(3) < 2 {
            self.store.replicate();
            self.history.note(|| "the standby has all that is committed".to_owned());
            return;
        }
        let ahead = self.choices.pick(&[0, 0, 1, 32]).unwrap_or(0);
        let before = self.store.sequence;
        self.fail_over(ahead);
        let after = self.store.sequence;
        self.history
            .note(|| format!("the standby takes over; the sequence is at {after}, and was at {before}"));
    }

    /// Faults stop: servers answer, operators rest, whoever was frozen goes on, somebody is there. A topic may stay
    /// away.
    pub(super) fn begin_calm(&mut self) {
        self.history.note(|| "all is calm from here".to_owned());
        self.calm = Some(fastrand::Rng::with_seed(self.setup.calm_seed));
        for host in &mut self.hosts {
            (host.frozen, host.cut_until, host.kafka_cut_until) = (false, 0, 0);
        }
        for place in 0..self.kafka.topics.len() {
            let stays = self.chance(5) == 0;
            if let Some(topic) = self.kafka.topics.get_mut(place).filter(|_| !stays) {
                (topic.missing, topic.leaderless) = (false, false);
            }
        }
        for application in &mut self.applications {
            application.until = 0;
        }
        let all = self.chance(2) == 1;
        for index in 0..self.hosts.len() {
            let none_up = self.hosts.iter().all(|host| host.life != Life::Up);
            if self.hosts.get(index).is_some_and(|host| host.life == Life::Down) && (all || none_up) {
                self.start(index);
            }
        }
    }
}

fn open_or_close(topic: &mut Topic, drawn: u32) -> &'static str {
    if topic.missing {
        topic.missing = false;
        "is there"
    } else if drawn == 3 {
        topic.delete();
        "is deleted"
    } else {
        topic.missing = true;
        "is closed"
    }
}

fn lead_or_not(topic: &mut Topic, _: u32) -> &'static str {
    topic.leaderless = !topic.leaderless;
    if topic.leaderless { "has no leader" } else { "has a leader" }
}

fn change_limits(topic: &mut Topic, drawn: u32) -> &'static str {
    (topic.bytes_max, topic.refuses_times) = match drawn {
        0 => (None, false),
        1 => (Some(500), topic.refuses_times),
        2 => (Some(200), topic.refuses_times),
        _ => (topic.bytes_max, true),
    };
    match (topic.bytes_max, topic.refuses_times) {
        (None, false) => "takes all",
        (None, true) => "refuses times",
        (Some(_), false) => "refuses large requests",
        (Some(_), true) => "refuses large requests, and times",
    }
}
