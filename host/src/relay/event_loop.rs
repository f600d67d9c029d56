//! The loop that does what the relay's machine commands.

mod commands;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

use super::outlets::Outlets;
use super::{LaneChange, Relay, settings};
use crate::clock;
use crate::db::{Db, DbError, lanes};
use crate::kafka::{KafkaError, Topics};
use crate::lane::Lease;
use crate::outage::Outage;
use crate::outbox::Pending;
use crate::waits::Wait;
use mailroom_core::relay::{
    AsidePage, Command, Delivery, DuePage, Event, Failure, Marked, Page, ProducerId, RelayMachine, Tell,
};

type Record = Arc<Pending>;

/// Result of a command that took time.
enum Ended {
    Looked(Result<Page<Record>, DbError>),
    LookedDue(Result<DuePage<Record>, DbError>),
    LookedAside(Result<AsidePage<Record>, DbError>),
    /// Result of a mark, with the leases under which it was tried.
    Marked(Result<Marked, DbError>, BTreeMap<i32, Lease>),
    Asked(Result<Vec<Arc<str>>, KafkaError>),
    Told(Result<Tell, DbError>),
    Released,
}

/// Something that happened.
enum Step {
    Lane(LaneChange),
    Ended(Ended),
    Purged(ProducerId),
    Delivered(Vec<Delivery>),
    Woken,
    Due,
}

/// The relay at work.
pub(super) struct RelayLoop {
    relay: Relay,
    machine: RelayMachine<Record>,
    leases: BTreeMap<i32, Lease>,
    outlets: Outlets,
    topics: Topics,
    outage: Outage,
    /// Topics whose messages wait.
    held: BTreeMap<Arc<str>, Wait>,
    tasks: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// Producers that are being ended; their lanes are not given back before.
    purges: FuturesUnordered<BoxFuture<'static, ProducerId>>,
    events: VecDeque<Event<Record>>,
    commands: Vec<Command<Record>>,
    session_outlasts: bool,
    stopped: bool,
}

impl RelayLoop {
    pub(super) fn new(relay: Relay) -> Result<Self, KafkaError> {
        let mut commands = Vec::new();
        let machine = RelayMachine::new(settings(&relay.config.relay), clock::now(), &mut commands);
        let mut new = Self {
            machine,
            leases: BTreeMap::new(),
            outlets: Outlets::new(Arc::clone(&relay.config), relay.metrics.of_relay()),
            topics: Topics::new(&relay.config.kafka)?,
            outage: relay.db.outage(),
            held: BTreeMap::new(),
            tasks: FuturesUnordered::new(),
            purges: FuturesUnordered::new(),
            events: VecDeque::new(),
            commands,
            session_outlasts: false,
            stopped: false,
            relay,
        };
        new.execute()?;
        Ok(new)
    }

    /// Works until it is dropped.
    pub(super) async fn work(&mut self) -> Result<(), KafkaError> {
        loop {
            self.turn().await?;
        }
    }

    /// Awaits and marks what is in flight.
    pub(super) async fn finish(&mut self) -> Result<(), KafkaError> {
        self.events.push_back(Event::Stop);
        self.take_events()?;
        while !self.stopped {
            self.turn().await?;
        }
        Ok(())
    }

    /// Gives all lanes back.
    pub(super) async fn give_back(&mut self) {
        let leases = std::mem::take(&mut self.leases).into_values().collect();
        // What is in flight still must not land after what the next owner publishes.
        self.purge_all().await;
        release(&self.relay.db, leases).await;
    }

    /// Ends without a trace: what is in flight is dropped.
    pub(super) async fn end(mut self) {
        self.relay.metrics.has_outbox_lanes(0);
        self.purge_all().await;
    }

    async fn purge_all(&mut self) {
        join_all(self.outlets.purge_all()).await;
        while self.purges.next().await.is_some() {}
    }

    async fn turn(&mut self) -> Result<(), KafkaError> {
        let mut step = self.next().await;
        self.notice_leases();
        // What was refused has to be known before anything is handed over that would pass it.
        let mut answers = self.outlets.answers_already();
        if let Step::Delivered(first) = &mut step {
            first.append(&mut answers);
        } else if !answers.is_empty() {
            self.events.push_back(Event::Delivered(answers));
        }
        self.take(step);
        let session_outlasts = self.relay.session.outlasts(self.relay.config.relay.publish_timeout);
        if session_outlasts != self.session_outlasts {
            self.session_outlasts = session_outlasts;
            let event = Event::SessionOutlasts(session_outlasts);
            // It has records handed over, or none of what follows.
            if session_outlasts { self.events.push_back(event) } else { self.events.push_front(event) }
        }
        self.take_events()?;
        if session_outlasts {
            let answers = self.outlets.send_waiting();
            if !answers.is_empty() {
                self.events.push_back(Event::Delivered(answers));
            }
        }
        self.take_events()?;
        self.relay.metrics.has_outbox_lanes(self.leases.len());
        Ok(())
    }

    /// Waits for the next thing to happen. Cancel safe.
    async fn next(&mut self) -> Step {
        let now = clock::now();
        let wait = self.machine.next_timer(now).since(now);
        tokio::select! {
            Some(change) = self.relay.lanes.recv() => Step::Lane(change),
            Some(ended) = self.tasks.next() => Step::Ended(ended),
            Some(producer) = self.purges.next() => Step::Purged(producer),
            answers = self.outlets.answers() => Step::Delivered(answers),
            () = self.relay.wake.notified() => Step::Woken,
            () = sleep(wait) => Step::Due,
        }
    }

    /// Tells the machine of lanes that were lost.
    fn notice_leases(&mut self) {
        let lost = self.leases.extract_if(.., |_, lease| lease.is_lost());
        self.events.extend(lost.map(|(lane, _)| Event::LaneLost(lane)));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Lane(LaneChange::Taken(lease)) => {
                let lane = lease.lane;
                if self.leases.insert(lane, lease).is_some() {
                    self.events.push_back(Event::LaneLost(lane));
                }
                self.events.push_back(Event::LaneTaken(lane));
            }
            Step::Lane(LaneChange::Surplus(lane)) => self.events.push_back(Event::LaneWanted(lane)),
            Step::Delivered(deliveries) => self.events.push_back(Event::Delivered(deliveries)),
            Step::Woken => {
                let touched = self.leases.values().filter(|lease| lease.take_reread());
                self.events.extend(touched.map(|lease| Event::LaneTouched(lease.lane)));
                self.events.push_back(Event::Woken);
            }
            Step::Purged(producer) => {
                // All its answers come before.
                let answers = self.outlets.answers_already();
                self.events.push_back(Event::Delivered(answers));
                self.events.push_back(Event::Purged(producer));
            }
            Step::Due => self.events.push_back(Event::TimerDue),
            Step::Ended(ended) => self.ended(ended),
        }
    }

    fn ended(&mut self, ended: Ended) {
        let event = match ended {
            Ended::Looked(looked) => {
                if looked.is_ok() {
                    self.outage.over();
                }
                Event::Looked(looked.map_err(|error| self.failed(&error)))
            }
            Ended::LookedDue(looked) => Event::LookedDue(looked.map_err(|error| self.failed(&error))),
            Ended::LookedAside(looked) => Event::LookedAside(looked.map_err(|error| self.failed(&error))),
            Ended::Marked(marked, leases) => Event::Marked(self.marked(marked, &leases)),
            Ended::Asked(missing) => Event::Asked(missing.map_err(|error| error.to_string())),
            Ended::Told(told) => Event::Told(told.map_err(|error| self.failed(&error))),
            Ended::Released => return,
        };
        self.events.push_back(event);
    }

    fn failed(&mut self, error: &DbError) -> Failure {
        let connection_lost =
            error.sqlstate().is_none_or(|code| code.starts_with("08") || code.starts_with("57P"));
        Failure { wait: self.outage.failed_as(error.urgency(), error), connection_lost }
    }

    fn marked(
        &mut self,
        marked: Result<Marked, DbError>,
        tried: &BTreeMap<i32, Lease>,
    ) -> Result<Marked, Failure> {
        let Marked::LanesLost(mut lost) = marked.map_err(|error| self.failed(&error))? else {
            return Ok(Marked::Done);
        };
        lost.iter().filter_map(|lane| tried.get(lane)).for_each(Lease::lose);
        // Taken anew meanwhile: its rows are marked under the new token.
        lost.retain(|lane| self.leases.get(lane).is_none_or(Lease::is_lost));
        for lane in &lost {
            tracing::warn!("Outbox lane {lane} is another host's now");
            self.leases.remove(lane);
        }
        Ok(Marked::LanesLost(lost))
    }

    fn take_events(&mut self) -> Result<(), KafkaError> {
        while let Some(event) = self.events.pop_front() {
            self.machine.on(event, clock::now(), &mut self.commands);
            self.execute()?;
        }
        Ok(())
    }
}

/// Gives lanes back.
async fn release(db: &Db, leases: Vec<Lease>) {
    let rights: Vec<_> = leases.iter().map(Lease::right).collect();
    if let Err(error) = lanes::release(db, &rights).await {
        tracing::warn!(%error, "Lanes of the outbox were not given back; the sweep does it later");
    }
    leases.iter().for_each(Lease::lose);
}
