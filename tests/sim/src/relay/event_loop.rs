//! The loop of a host's relay, as the host has it: one step, then all events that follow, then commands.

use std::collections::BTreeMap;

use mailroom_core::relay::{Command, Event, MarkBatch, Marked, ProducerId, RelayMachine};
use mailroom_core::time::Moment;

use super::RelayWorld;
use super::client::{Client, Handed, place};
use super::host::{LaneChange, Life};
use super::job::Task;
use super::network::Ask;
use super::setup::PUBLISH_TIMEOUT;
use super::store::Message;
use super::writes::Tokens;
use crate::postgres::table::NOBODY;

/// More turns than this at one moment are a spin.
const TURNS_MAX: u32 = 1500;

/// Something that happened to a relay's loop.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Lane(LaneChange),
    Event(Event<Message>),
    Purged(ProducerId),
    Woken,
    Nothing,
}

impl RelayWorld {
    /// A relay begins, with a machine that knows nothing.
    pub(super) fn start_relay(&mut self, index: usize) {
        let (settings, now) = (self.setup.settings, Moment(self.now));
        let Some(host) = self.hosts.get_mut(index) else { return };
        let mut commands = Vec::new();
        host.machine = Some(RelayMachine::new(settings, now, &mut commands));
        for command in commands {
            self.execute(index, command);
        }
        self.turn(index, Step::Nothing);
    }

    /// One turn of the loop.
    pub(super) fn turn(&mut self, index: usize, step: Step) {
        let (now, queue_max) = (self.now, self.setup.queue_max);
        self.notice_leases(index);
        self.notice_answers(index);
        self.take_step(index, step);
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.turns += 1;
        let spins = host.turns > TURNS_MAX;
        let outlasts = now + PUBLISH_TIMEOUT < host.valid_until;
        if outlasts != host.session_outlasts {
            host.session_outlasts = outlasts;
            let event = Event::SessionOutlasts(outlasts);
            if outlasts {
                host.events.push_back(event);
            } else {
                host.events.push_front(event);
            }
        }
        self.take_events(index);
        if let Some(host) = self.hosts.get_mut(index).filter(|_| outlasts) {
            let clients = host.clients.all.values_mut();
            let answers: Vec<_> = clients.flat_map(|client| client.send_waiting(now, queue_max)).collect();
            if !answers.is_empty() {
                host.events.push_back(Event::Delivered(answers));
            }
        }
        self.take_events(index);
        if spins {
            self.violate("spin", format!("h{index} has more than {TURNS_MAX} turns at one moment"));
        }
        let Some(host) = self.hosts.get_mut(index) else { return };
        if let Some(machine) = &host.machine {
            host.timer = machine.next_timer(Moment(now)).0;
        }
    }

    /// Tells the machine of lanes that were lost.
    fn notice_leases(&mut self, index: usize) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        let lost: Vec<i32> = host
            .leases
            .iter()
            .filter(|(lane, token)| host.is_lost(**lane, **token))
            .map(|(lane, _)| *lane)
            .collect();
        for lane in lost {
            host.leases.remove(&lane);
            host.marked.clear();
            host.events.push_back(Event::LaneLost(lane));
        }
    }

    /// Feeds answers to the relay: a refusal has to be known before anything is handed over that would pass
    /// the refused record.
    fn notice_answers(&mut self, index: usize) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        if !host.clients.answers.is_empty() {
            let answers = host.clients.answers.drain(..).collect();
            host.events.push_back(Event::Delivered(answers));
        }
    }

    fn take_step(&mut self, index: usize, step: Step) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        match step {
            Step::Lane(LaneChange::Taken(lane, token)) => {
                host.marked.clear();
                if host.leases.insert(lane, token).is_some() {
                    host.events.push_back(Event::LaneLost(lane));
                }
                host.events.push_back(Event::LaneTaken(lane));
            }
            Step::Lane(LaneChange::Surplus(lane)) => host.events.push_back(Event::LaneWanted(lane)),
            Step::Event(event) => {
                if matches!(event, Event::Looked(Ok(_))) {
                    host.outage = None;
                }
                host.events.push_back(event);
            }
            // All its answers were noticed.
            Step::Purged(producer) => host.events.push_back(Event::Purged(producer)),
            Step::Woken => {
                for (lane, token) in &host.leases {
                    if let Some(lease) = host.shared.get_mut(&(*lane, *token))
                        && std::mem::take(&mut lease.touched)
                    {
                        host.events.push_back(Event::LaneTouched(*lane));
                    }
                }
                host.events.push_back(Event::Woken);
            }
            Step::Nothing => {}
        }
    }

    pub(super) fn take_events(&mut self, index: usize) {
        loop {
            let now = Moment(self.now);
            let Some(host) = self.hosts.get_mut(index) else { return };
            let Some(event) = host.events.pop_front() else { return };
            let Some(machine) = host.machine.as_mut() else { return };
            let said = self.history.is_on().then(|| super::history::event(&event));
            self.coverage.relay_event(&event);
            let mut commands = Vec::new();
            machine.on(event, now, &mut commands);
            let checked = machine.check();
            if let Some(said) = said {
                let commands: Vec<String> = commands.iter().filter_map(super::history::command).collect();
                if said != "timer" || !commands.is_empty() {
                    let arrow = if commands.is_empty() { "" } else { " → " };
                    self.history.note(|| format!("h{index} {said}{arrow}{}", commands.join("; ")));
                }
            }
            if let Err(complaint) = checked {
                self.violate("check", complaint);
            }
            for command in commands {
                self.execute(index, command);
            }
        }
    }

    fn execute(&mut self, index: usize, command: Command<Message>) {
        self.coverage.relay_command(&command);
        match command {
            Command::Open(producer) => {
                self.last_pid += 1;
                let client = Client::new(self.last_pid);
                if let Some(host) = self.hosts.get_mut(index) {
                    host.clients.all.insert(producer, client);
                }
            }
            Command::Send { producer, ticket, row, timestamp } => {
                self.check_sent(index, &row);
                let place = place(&self.setup.topics, &row, self.setup.partitions);
                let (now, queue_max) = (self.now, self.setup.queue_max);
                let Some((host, place)) = self.hosts.get_mut(index).zip(place) else { return };
                let record = Handed { ticket, row, place, timestamp, at: now };
                let client = host.clients.all.get_mut(&producer);
                if let Some(answer) = client.and_then(|client| client.send(record, now, queue_max)) {
                    host.events.push_back(Event::Delivered(vec![answer]));
                }
            }
            Command::Purge(producer) => {
                let Some(host) = self.hosts.get_mut(index) else { return };
                if let Some(mut client) = host.clients.all.remove(&producer) {
                    client.waiting.clear();
                    host.clients.purging.insert(producer, client);
                } else {
                    host.clients.purged.push_back(producer);
                }
            }
            Command::Mark(batch) => {
                let tokens = self.tokens_of(index, &batch);
                self.push_job(Some(index), Task::Mark(batch, tokens));
            }
            Command::Ask(topics) => {
                let lives = self.hosts.get(index).map_or(0, |host| host.lives);
                self.asks.push(Ask { host: index, lives, topics });
            }
            Command::Release(lanes) => {
                let Some(host) = self.hosts.get_mut(index) else { return };
                let leases = lanes.iter().filter_map(|lane| Some((*lane, host.leases.remove(lane)?)));
                let leases = leases.collect();
                self.push_job(Some(index), Task::Release(leases));
            }
            Command::Stopped => self.leave(index),
            Command::Say(notice) => {
                self.history.note(|| format!("h{index} says {notice:?}"));
            }
            command @ (Command::Look(_) | Command::LookDue(_) | Command::LookAside(_) | Command::Tell(_)) => {
                self.push_job(Some(index), Task::Command(command))
            }
        }
    }

    fn tokens_of(&self, index: usize, batch: &MarkBatch<Message>) -> Tokens {
        let published = batch.published.iter().map(|published| published.row.lane);
        let lanes = published.chain(batch.refused.iter().map(|(row, _)| row.lane));
        let Some(host) = self.hosts.get(index) else { return BTreeMap::new() };
        lanes.filter_map(|lane| Some((lane, *host.leases.get(&lane)?))).collect()
    }

    /// A mark has ended; what it says of lanes holds for the leases under which it was tried. The rows are given where
    /// what it wrote is still there.
    pub(super) fn mark_ended(
        &mut self,
        index: usize,
        marked: Marked,
        tried: &Tokens,
        batch: Option<&MarkBatch<Message>>,
    ) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        let event = match marked {
            Marked::Done => {
                if let Some(batch) = batch {
                    let published = batch.published.iter().map(|published| &published.row);
                    let rows = published.chain(batch.refused.iter().map(|(row, _)| row));
                    let ended = rows.filter(|row| {
                        self.store.outbox.get(NOBODY, &row.seq).is_some_and(|row| !row.is_pending())
                    });
                    host.marked.extend(ended.map(|row| row.record.id));
                }
                Marked::Done
            }
            Marked::LanesLost(mut lost) => {
                for lane in &lost {
                    if let Some(token) = tried.get(lane) {
                        host.lose(*lane, *token);
                    }
                }
                // Taken anew meanwhile: its rows are marked under the new token.
                lost.retain(|lane| host.leases.get(lane).is_none_or(|token| host.is_lost(*lane, *token)));
                for lane in &lost {
                    host.leases.remove(lane);
                }
                host.marked.clear();
                Marked::LanesLost(lost)
            }
        };
        self.turn(index, Step::Event(Event::Marked(Ok(event))));
    }

    /// Nothing is left that is worth waiting for, or the time is over: lanes are given back.
    pub(super) fn leave(&mut self, index: usize) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        if !matches!(host.life, Life::Stopping(_)) {
            return;
        }
        host.life = Life::Leaving;
        host.machine = None;
        host.events.clear();
        host.clients = super::client::Clients::default();
        let leases: Vec<(i32, i64)> = std::mem::take(&mut host.leases).into_iter().collect();
        self.push_job(Some(index), Task::Release(leases));
    }
}
