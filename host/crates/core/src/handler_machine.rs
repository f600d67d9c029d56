//! The machine of one handler in one session: which lanes it works on, what it starts, reads and settles.
//!
//! [`HandlerMachine::on`] takes what happened, [`HandlerMachine::commands`] gives what is to be done about it. Whoever
//! executes the commands feeds back what came of each. The machine must not know how that is done.
//!
//! Its parts: `partitions` (what Kafka gave, lanes taken and positions found), `reads`, `calls`, `writes`, `admission`
//! (breaker, pause, session), `doubt` (what is not known, and what does not go on).

mod admission;
mod calls;
pub mod command;
mod doubt;
pub mod event;
mod partitions;
mod polling;
mod reads;
pub mod settings;
pub mod version;
mod writes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub use settings::Settings;

use crate::handler_machine::admission::Admission;
use crate::handler_machine::calls::{KeptEnd, RunningCall};
use crate::handler_machine::command::{Command, Read, ReadId};
use crate::handler_machine::doubt::Stuck;
use crate::handler_machine::event::{Event, Polled};
use crate::handler_machine::partitions::Partition;
use crate::handler_machine::version::Version;
use crate::ids::{CallId, LaneId, Lease, Seq, TopicPartition, WriteId};
use crate::lane::{Lane, Source, Weight};
use crate::seq_stock::{SeqStock, SequenceFellBack};
use crate::time::Moment;

/// The first wait after Postgres refused something; it doubles up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Pause before Postgres is asked again after it was away.
#[derive(Debug, Clone, Default, Hash)]
struct Backoff {
    until: Moment,
    wait: Duration,
}

impl Backoff {
    fn failed(&mut self, now: Moment) {
        if now < self.until {
            return;
        }
        self.wait = (self.wait * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        self.until = now + self.wait;
    }

    fn over(&mut self) {
        *self = Self::default();
    }
}

/// Notes of what is begun.
#[derive(Debug, Clone, Default, Hash)]
struct Marks {
    in_flight: bool,
    /// Number of messages that one note covers.
    ahead: usize,
    /// Time at which the last note was sent.
    sent_at: Option<Moment>,
}

/// The machine.
#[derive(Debug, Clone, Hash)]
pub struct HandlerMachine<S, E> {
    settings: Settings,
    version: Arc<Version>,
    lanes: BTreeMap<LaneId, Lane<S, E>>,
    partitions: BTreeMap<TopicPartition, Partition>,
    admission: Admission,
    /// All calls, void ones and those of lanes that are gone too, until they end.
    calls: BTreeMap<CallId, RunningCall>,
    /// Ends of calls that may be made once, kept for lanes that are read again.
    kept_ends: BTreeMap<(LaneId, Seq), KeptEnd<E>>,
    reads: BTreeMap<ReadId, Read>,
    /// Bytes of a message of the last page that was read.
    read_size: usize,
    /// The lane that was read last.
    read_last: LaneId,
    writes: BTreeMap<WriteId, Vec<Lease>>,
    marks: Marks,
    next_id: u64,
    /// Places in the order of the inbox that were drawn ahead.
    seqs: SeqStock,
    drawing: bool,
    /// The inbox's sequence fell back, and has not reached again what is known.
    sequence_fell: Option<SequenceFellBack>,
    /// Polled records that wait for places.
    unnumbered: VecDeque<Polled>,
    postgres: Backoff,
    /// Settlements wait by themselves: that others succeed says nothing of them.
    write_backoff: Backoff,
    /// The partitions are paused since memory is full.
    paused: bool,
    full_since: Option<Moment>,
    /// Calls left as much as may wait to be written: none begins.
    effects_full: bool,
    /// Partitions that are not read since too many of their keys wait.
    too_many_keys: BTreeSet<TopicPartition>,
    /// Few messages make no other settlement beside those under way before.
    settle_apart: Moment,
    adopt_at: Moment,
    adopting: bool,
    stop_by: Option<Moment>,
    /// Measures the time in which no call and no settlement ended though calls have all places and others could start.
    stuck: Stuck,
    /// Time of the last step: everything due by then is done, or waits for an event.
    stepped_at: Moment,
    commands: Vec<Command<S, E>>,
}

impl<S: Clone, E: Clone> HandlerMachine<S, E> {
    /// Creates one that has nothing yet.
    #[must_use]
    pub fn new(settings: Settings, version: Arc<Version>, now: Moment) -> Self {
        Self {
            settings,
            version,
            lanes: BTreeMap::new(),
            partitions: BTreeMap::new(),
            admission: Admission::new(now),
            calls: BTreeMap::new(),
            kept_ends: BTreeMap::new(),
            reads: BTreeMap::new(),
            read_size: 0,
            read_last: LaneId(i32::MIN),
            writes: BTreeMap::new(),
            marks: Marks::default(),
            next_id: 0,
            seqs: SeqStock::default(),
            drawing: false,
            sequence_fell: None,
            unnumbered: VecDeque::new(),
            postgres: Backoff::default(),
            write_backoff: Backoff::default(),
            paused: false,
            full_since: None,
            effects_full: false,
            too_many_keys: BTreeSet::new(),
            settle_apart: now,
            adopt_at: now,
            adopting: false,
            stop_by: None,
            stuck: Stuck::default(),
            stepped_at: now,
            commands: Vec::new(),
        }
    }

    /// Takes what happened at `now`, and decides what is to be done.
    pub fn on(&mut self, event: Event<S, E>, now: Moment) {
        self.take(event, now);
        self.step(now);
    }

    /// Takes what happened at once, in order.
    pub fn on_all(&mut self, events: impl IntoIterator<Item = Event<S, E>>, now: Moment) {
        events.into_iter().for_each(|event| self.take(event, now));
        self.step(now);
    }

    fn take(&mut self, event: Event<S, E>, now: Moment) {
        match event {
            Event::Assigned(partitions) => self.assigned(partitions, now),
            Event::Revoked(partitions) => self.revoked(&partitions, now),
            Event::Polled(polled) => self.unnumbered.extend(polled),
            Event::Displaced(partitions) => self.displaced(&partitions, now),
            Event::SeqsDrawn(outcome) => self.seqs_drawn(outcome, now),
            Event::Taken { asked, outcome } => self.taken(&asked, outcome, now),
            Event::Retaken { asked, outcome } => self.retaken(&asked, outcome, now),
            Event::Standing { lease, outcome } => self.standing(lease, outcome, now),
            Event::Read { lease, read, outcome } => self.rows_read(lease, read, outcome, now),
            Event::DueKeys { lease, read, outcome } => self.due_found(lease, read, outcome, now),
            Event::Marked { asked, outcome } => self.marked(&asked, outcome, now),
            Event::Written { write, outcome } => self.written(write, outcome, now),
            Event::SqlSettled { call, outcome } => self.sql_settled(call, outcome, now),
            Event::Released(lanes) => self.released(&lanes),
            Event::CallsEnded(ends) => ends.into_iter().for_each(|end| self.call_ended(end, now)),
            Event::Positioned(found) => self.positioned(found, now),
            Event::Looked(look) => self.looked(&look, now),
            Event::BreakerTold(outcome) => self.breaker_told(outcome, now),
            Event::VersionChanged(version) => self.version = version,
            Event::SessionRenewed(until) => self.admission.session_until = until,
            Event::Stop { by } => self.stop(by, now),
            Event::Tick => {}
        }
    }

    /// Does whatever can be done now. The order is the flow's: rows and records come in, calls start, ends are
    /// settled, lanes are given back.
    fn step(&mut self, now: Moment) {
        self.lanes.values_mut().for_each(|lane| lane.tick(now));
        self.plan_partitions(now);
        self.number_polled(now);
        self.plan_reads(now);
        self.start_calls(now);
        self.plan_sql(now);
        self.plan_writes(now);
        self.plan_releases(now);
        self.watch(now);
        self.balance(now);
        self.stepped_at = now;
    }

    /// Gives what is to be done since this was last asked.
    pub fn commands(&mut self) -> Vec<Command<S, E>> {
        std::mem::take(&mut self.commands)
    }

    /// Gives when it wants [`Event::Tick`], if nothing happens before.
    #[must_use]
    pub fn next_due(&self) -> Option<Moment> {
        let lanes = self.lanes.values().filter_map(Lane::next_due);
        let own = [self.write_due_at(), self.partitions_due(), self.admission.due(), self.watch_due()];
        let backoffs = [self.postgres.until, self.write_backoff.until];
        let times = lanes.chain(own.into_iter().flatten()).chain(backoffs);
        times.filter(|at| *at > self.stepped_at).min()
    }

    /// Tells whether nothing is in memory and nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.writes.is_empty() && self.lanes.values().all(Lane::is_idle)
    }

    /// Tells whether the machine was stopped and has given everything back.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop_by.is_some() && self.lanes.is_empty() && self.writes.is_empty()
    }

    /// Gives the lanes that it has, for whoever looks for lanes of nobody.
    pub fn lanes(&self) -> impl Iterator<Item = LaneId> {
        self.lanes.keys().copied()
    }

    /// Gives the assigned partitions whose lanes it has.
    pub fn assigned_lanes(&self) -> impl Iterator<Item = (&TopicPartition, LaneId)> {
        let assigned = self.partitions.iter().filter(|(_, of)| of.assigned);
        assigned.filter_map(|(partition, of)| Some((partition, of.lane?)))
    }

    /// Gives how much is in memory.
    #[must_use]
    pub fn messages_in_memory(&self) -> usize {
        (self.weight(Source::Polled) + self.weight(Source::Read)).messages
    }

    /// Says what is not as it must be.
    ///
    /// # Errors
    /// The invariant that is broken, and by what.
    pub fn check(&self) -> Result<(), String> {
        for lane in self.lanes.values() {
            lane.check().map_err(|error| format!("lane {}: {error}", lane.lease.lane))?;
        }
        Ok(())
    }

    fn weight(&self, source: Source) -> Weight {
        self.lanes.values().fold(Weight::default(), |sum, lane| sum + lane.weight(source))
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Tells whether Postgres may be asked.
    fn may_ask(&self, now: Moment) -> bool {
        now >= self.postgres.until
    }
}
