//! The relay's horizon as something to be explored: transactions that draw places and commit in any order, and looks
//! of the real machine between them.
//!
//! A look has a snapshot, draws its own transaction id where it is to sample, and reads the sequence; anything may
//! happen between these, and the latter two come in either order. Whatever it brings is published and marked at once,
//! since the horizon does not depend on that.

mod outbox;

pub(crate) use outbox::{Plans, SUBTRANSACTION, THREE};

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use mailroom_core::relay::{
    Command, Delivery, DuePage, Event, Look, Marked, Page, RelayMachine, Row, Settings, Snapshot, Wake,
};
use mailroom_core::time::Moment;

use super::fingerprint::{AsIs, Text};
use super::search::Model;
use outbox::{Outbox, Step};

/// Looks while transactions are under way, besides the one that begins before all of them.
const LOOKS: u8 = 4;
/// Looks after the last has ended.
const LAST_LOOKS: u8 = 3;
/// Time between a sample and a look at which another is due, and one at which none is.
const GAPS: [u64; 2] = [150, 20];
/// The age from which on a sample is followed by another.
const SAMPLE_EVERY: u64 = 100;

/// A look under way.
#[derive(Debug, Clone)]
struct UnderWay {
    wants_id: bool,
    rows: Vec<i64>,
    visible: BTreeSet<i64>,
    snapshot: Snapshot,
    has_seq: bool,
}

/// The outbox, its transactions and a relay.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    machine: RelayMachine<()>,
    now: u64,
    outbox: Outbox,
    sent: BTreeSet<i64>,
    looks_left: u8,
    look: Option<UnderWay>,
    broken: Option<String>,
}

/// Step that may happen next.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// A transaction's next step; whether it comes to something, where it ends.
    Go(usize, bool),
    Snapshot(u64),
    OwnId,
    ReadSequence,
}

/// The scenario.
pub(crate) struct Horizon {
    pub(crate) plans: Plans,
}

impl Model for Horizon {
    type State = Table;

    fn first(&self) -> Table {
        Table::new(self.plans)
    }

    fn next(&self, table: &Table) -> Vec<Table> {
        let act = |action| {
            let mut then = table.clone();
            then.act(action);
            then
        };
        table.actions().into_iter().map(act).collect()
    }

    fn fingerprint(&self, table: &Table) -> u128 {
        let mut text = Text::at(table.now, SAMPLE_EVERY);
        match write!(text, "{:?}", table.what_matters()) {
            Ok(()) => text.mixed(),
            // It writes to memory, which is always there.
            Err(_) => 0,
        }
    }

    fn broken(&self, table: &Table, is_end: bool) -> Option<String> {
        let lost = || table.outbox.committed.difference(&table.sent).copied().collect::<Vec<i64>>();
        let at_end = || Some(lost()).filter(|lost| is_end && !lost.is_empty());
        table.broken.clone().or_else(|| at_end().map(|lost| format!("liveness: {lost:?} are never read")))
    }

    fn history(&self, path: &[u16]) -> Vec<String> {
        let (mut table, mut lines) = (Table::new(self.plans), Vec::new());
        for by in path {
            let Some(action) = table.actions().get(usize::from(*by)).copied() else { break };
            let before = table.sent.clone();
            lines.push(table.words(action));
            table.act(action);
            if let (Action::Snapshot(_), Some(look)) = (action, &table.look) {
                lines.push(format!(
                    "    rows {:?}, xmax {}, open {:?}",
                    look.rows, look.snapshot.xmax, look.snapshot.open
                ));
            }
            let sent: Vec<_> = table.sent.difference(&before).collect();
            if !sent.is_empty() {
                lines.push(format!("    sends {sent:?}"));
            }
        }
        lines
    }
}

impl Table {
    fn new(plans: Plans) -> Self {
        let settings = Settings {
            batch_rows_max: 100,
            in_flight_max: 100,
            in_flight_bytes_max: 1_000_000,
            publish_timeout: Duration::from_secs(10),
            poll_min: Duration::from_millis(10),
            poll_max: Duration::from_millis(10),
            wake: Wake::Poll,
        };
        let mut commands = Vec::new();
        let machine = RelayMachine::new(settings, Moment(1000), &mut commands);
        let mut table = Self {
            machine,
            now: 1000,
            outbox: Outbox::new(plans),
            sent: BTreeSet::new(),
            looks_left: LOOKS,
            look: None,
            broken: None,
        };
        table.feed(Event::SessionOutlasts(true));
        table.feed(Event::LaneTaken(0));
        // With its first row the topic is met, and asked for.
        table.outbox.sequence += 1;
        table.outbox.committed.insert(table.outbox.sequence);
        for _ in 0..50 {
            if !table.sent.is_empty() && table.look.is_none() {
                break;
            }
            let action = table.actions().last().copied().filter(|_| table.look.is_some());
            table.act(action.unwrap_or(Action::Snapshot(GAPS[0])));
            table.looks_left = LOOKS;
        }
        table.broken = table.sent.is_empty().then(|| "S10: the first row is never read".to_owned());
        table
    }

    /// Says what may still become of it. Rows that were sent and transactions that have ended are nothing any more; of
    /// the machine, only what it knows of lanes and horizon says what its looks read.
    fn what_matters(&self) -> impl std::fmt::Debug {
        let machine = format!("{:?}", self.machine);
        let known = machine.split_once("lanes: ").and_then(|(_, rest)| rest.split_once(", topics: "));
        let known = known.map_or_else(|| machine.clone(), |(known, _)| known.to_owned());
        let producers: Vec<_> = self
            .outbox
            .producers
            .iter()
            .zip(self.outbox.plans)
            .map(|(producer, plan)| producer.next(plan).is_some().then(|| producer.clone()))
            .collect();
        let unsent: Vec<i64> = self.outbox.committed.difference(&self.sent).copied().collect();
        let waits =
            |before: &BTreeSet<i64>| unsent.iter().filter(|seq| before.contains(seq)).copied().collect();
        let open = producers
            .iter()
            .flatten()
            .flat_map(|producer| producer.drawn.iter().chain(&producer.drawn_in_sub));
        let lives: BTreeSet<i64> = open.chain(&unsent).copied().collect();
        let order = self.outbox.before.iter().filter(|(seq, _)| lives.contains(seq));
        let order: Vec<(i64, Vec<i64>)> = order.map(|(seq, before)| (*seq, waits(before))).collect();
        let look = self.look.as_ref().map(|look| {
            let visible: Vec<i64> = look.visible.difference(&self.sent).copied().collect();
            (look.wants_id, look.rows.clone(), visible, look.snapshot.clone(), look.has_seq)
        });
        let counters = (self.outbox.last_id, self.outbox.last_ended, self.outbox.sequence, self.looks_left);
        (AsIs(known), producers, unsent, order, counters, look)
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (index, (producer, plan)) in self.outbox.producers.iter().zip(self.outbox.plans).enumerate() {
            match producer.next(plan) {
                None => {}
                Some(Step::End | Step::EndSub) => {
                    actions.extend([Action::Go(index, true), Action::Go(index, false)]);
                }
                Some(Step::Begin | Step::Draw | Step::BeginAndDraw | Step::Save | Step::Commit) => {
                    actions.push(Action::Go(index, true))
                }
            }
        }
        match &self.look {
            None if self.outbox.are_over() && self.looks_left > 0 => actions.push(Action::Snapshot(GAPS[0])),
            None if self.looks_left > 0 => actions.extend(GAPS.map(Action::Snapshot)),
            None => {}
            Some(look) => {
                let needs_id = look.wants_id && look.snapshot.own_id.is_none();
                actions.extend(needs_id.then_some(Action::OwnId));
                actions.extend((!look.has_seq).then_some(Action::ReadSequence));
            }
        }
        actions
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Go(index, kept) => {
                self.outbox.go(index, kept);
                if self.outbox.are_over() {
                    self.looks_left = LAST_LOOKS;
                }
            }
            Action::Snapshot(gap) => self.begin_look(gap),
            Action::OwnId => {
                self.outbox.last_id += 1;
                // It has ended by the next look.
                self.outbox.last_ended = self.outbox.last_id;
                if let Some(look) = &mut self.look {
                    look.snapshot.own_id = Some(self.outbox.last_id);
                }
                self.answer_if_over();
            }
            Action::ReadSequence => {
                if let Some(look) = &mut self.look {
                    (look.snapshot.last_seq, look.has_seq) = (self.outbox.sequence, true);
                }
                self.answer_if_over();
            }
        }
    }

    fn begin_look(&mut self, gap: u64) {
        self.looks_left -= 1;
        self.now += gap;
        for _ in 0..20 {
            self.feed(Event::TimerDue);
            if self.look.is_some() {
                return;
            }
            self.now += 1;
        }
        self.broken = Some("liveness: it looks no more".to_owned());
    }

    /// Takes what a look's snapshot shows.
    fn see(&mut self, look: &Look) {
        let xmax = self.outbox.last_ended + 1;
        let open = self.outbox.open(xmax);
        let has_ended = |id: &i64| *id < xmax && !open.contains(id);
        let stragglers = look.stragglers.iter().copied().zip(look.floors.iter().copied());
        let ended: Vec<(i64, i64)> = stragglers.filter(|(id, _)| has_ended(id)).collect();
        let floor = ended.iter().map(|(_, floor)| *floor).min().unwrap_or(i64::MAX);
        let start = look.late.first().copied().unwrap_or(0).min(floor);
        let pending =
            self.outbox.committed.difference(&self.sent).copied().filter(|_| look.without.is_empty());
        let bound = usize::try_from(look.bounds.first().copied().unwrap_or(0)).unwrap_or(0);
        let rows = pending.filter(|seq| *seq > start).take(bound.min(look.rows_max)).collect();
        let named = usize::try_from(look.open_max).unwrap_or(usize::MAX);
        let open = open.into_iter().filter(|id| *id < look.open_below).take(named).collect();
        let ended = ended.into_iter().map(|(id, _)| id).collect();
        self.look = Some(UnderWay {
            wants_id: look.sample,
            rows,
            visible: self.outbox.committed.clone(),
            snapshot: Snapshot { xmax, open, ended, ..Snapshot::default() },
            has_seq: false,
        });
    }

    /// The answer comes with the last of what a look does: until the next snapshot nothing depends on when.
    fn answer_if_over(&mut self) {
        let is_over = |look: &UnderWay| look.has_seq && (!look.wants_id || look.snapshot.own_id.is_some());
        if self.look.as_ref().is_some_and(is_over) {
            self.answer();
        }
    }

    fn answer(&mut self) {
        let Some(UnderWay { rows, visible, snapshot, .. }) = self.look.take() else { return };
        let as_row =
            |seq| Row { lane: 0, seq, topic: "t".into(), bytes: 10, memory: 10, unfit: None, record: () };
        let rows = rows.into_iter().map(as_row).collect();
        let page = Page { rows, is_cut: false, snapshot, next_due: None };
        self.feed(Event::Looked(Ok(page)));
        let missed: Vec<i64> = visible.difference(&self.sent).copied().collect();
        if !missed.is_empty() {
            self.breaks(format!("S10: {missed:?} are passed over by a look that could have shown them"));
        }
    }

    fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// Hands an event to the machine, and does at once what is not the look.
    fn feed(&mut self, event: Event<()>) {
        let (mut events, mut commands) = (vec![event], Vec::new());
        while let Some(event) = events.pop() {
            self.machine.on(event, Moment(self.now), &mut commands);
            for command in commands.drain(..) {
                match command {
                    Command::Look(look) => self.see(&look),
                    Command::LookDue(_) => {
                        events.push(Event::LookedDue(Ok(DuePage {
                            server: 0,
                            rows: Vec::new(),
                            is_cut: false,
                            next_due: None,
                        })));
                    }
                    Command::Send { ticket, row, .. } => {
                        self.send(row.seq);
                        events.push(Event::Delivered(vec![Delivery { ticket, result: Ok((0, row.seq)) }]));
                    }
                    Command::Mark(_) => events.push(Event::Marked(Ok(Marked::Done))),
                    Command::Ask(_) => events.push(Event::Asked(Ok(Vec::new()))),
                    Command::Tell(tell) => events.push(Event::Told(Ok(tell))),
                    Command::LookAside(_)
                    | Command::Open(_)
                    | Command::Purge(_)
                    | Command::Release(_)
                    | Command::Say(_)
                    | Command::Stopped => {}
                }
            }
        }
    }

    /// A row comes once, and after whatever was committed before its place was drawn.
    fn send(&mut self, seq: i64) {
        let missing =
            self.outbox.before.get(&seq).map(|before| before.difference(&self.sent).copied().collect());
        let missing: Vec<i64> = missing.unwrap_or_default();
        if !missing.is_empty() {
            self.breaks(format!(
                "S10: {seq} is sent before {missing:?}, which were committed before it was drawn"
            ));
        }
        if !self.sent.insert(seq) {
            self.breaks(format!("S10: {seq} is sent twice"));
        }
    }

    fn words(&self, action: Action) -> String {
        match action {
            Action::Go(index, kept) => {
                let step = self.outbox.next(index);
                let ends = matches!(step, Some(Step::End | Step::EndSub)) && !kept;
                let step = step.map_or_else(String::new, |step| format!("{step:?}"));
                let next = if matches!(step.as_str(), "Draw" | "BeginAndDraw" | "Save") {
                    format!(" {}", self.outbox.sequence + 1)
                } else {
                    String::new()
                };
                format!("transaction {index}: {step}{next}{}", if ends { ", rolled back" } else { "" })
            }
            Action::Snapshot(gap) => format!("a look begins, {gap} ms after the last"),
            Action::OwnId => format!("the look draws its id, {}", self.outbox.last_id + 1),
            Action::ReadSequence => format!("the look reads the sequence, {}", self.outbox.sequence),
        }
    }
}
