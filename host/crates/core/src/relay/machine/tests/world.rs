//! A table, a broker, and whoever is between them, all of them in one thread. What happens next is chance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::super::super::*;
use super::{Moment, RelayMachine, SETTINGS};

const LANES: i32 = 3;
const TOPICS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
struct Stored {
    topic: usize,
    key: u64,
    bytes: usize,
    due: Option<u64>,
    drawn_at: u64,
    committed_at: u64,
    ended: bool,
}

#[derive(Debug, Default)]
struct Broker {
    sick: bool,
    missing: bool,
    bytes_max: usize,
    log: BTreeSet<i64>,
}

type Queue = VecDeque<(Ticket, Row<i64>)>;

#[derive(Debug, Default)]
struct Client {
    queues: [Queue; 4],
    fatal: bool,
}

/// World in which the relay is tried, with all its chance.
pub(super) struct World {
    seed: u64,
    chance: u64,
    step: u64,
    now: u64,
    machine: RelayMachine<i64>,
    commands: Vec<Command<i64>>,
    tasks: Vec<Command<i64>>,
    answers: Vec<Event<i64>>,
    deliveries: Vec<Delivery>,
    table: BTreeMap<i64, Stored>,
    open: BTreeMap<i64, Vec<(i64, Stored)>>,
    last_seq: i64,
    next_id: i64,
    last_ended: i64,
    clients: BTreeMap<ProducerId, Client>,
    brokers: [Broker; 4],
    healthy: bool,
}

fn lane_of(row: &Stored) -> i32 {
    i32::try_from((row.key + row.topic as u64) % 3).unwrap()
}

/// Leaves out what is beyond the bounds; says whether that may be for the bytes.
fn cut(rows: &mut Vec<Row<i64>>, rows_max: usize, bytes_max: usize) -> bool {
    rows.truncate(rows_max);
    let mut bytes = 0;
    let fitting = rows.iter().take_while(|row| {
        let fits = bytes < bytes_max;
        bytes += row.memory;
        fits
    });
    let fitting = fitting.count();
    rows.truncate(fitting);
    bytes >= bytes_max
}

impl World {
    /// Room for rows by their number, or for a few by their bytes, by turns.
    pub(super) fn new(seed: u64) -> Self {
        let mut commands = Vec::new();
        let bytes_max = [SETTINGS.in_flight_bytes_max, 1_500, 100][usize::try_from(seed % 3).unwrap()];
        let settings = Settings { in_flight_bytes_max: bytes_max, ..SETTINGS };
        let machine = RelayMachine::new(settings, Moment(0), &mut commands);
        let mut world = Self {
            seed,
            chance: seed,
            step: 0,
            now: 0,
            machine,
            commands,
            tasks: Vec::new(),
            answers: Vec::new(),
            deliveries: Vec::new(),
            table: BTreeMap::new(),
            open: BTreeMap::new(),
            last_seq: 0,
            next_id: 100,
            last_ended: 99,
            clients: BTreeMap::new(),
            brokers: Default::default(),
            healthy: false,
        };
        world.brokers.iter_mut().for_each(|broker| broker.bytes_max = 1_000);
        world.brokers[3].bytes_max = 1_000_000;
        world.obey();
        world.on(Event::SessionOutlasts(true));
        (0..LANES).for_each(|lane| world.on(Event::LaneTaken(lane)));
        world
    }

    fn chance(&mut self, of: u64) -> u64 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % of
    }

    /// An index below a length, which may be none.
    fn index(&mut self, length: usize) -> usize {
        let of = u64::try_from(length.max(1)).unwrap();
        usize::try_from(self.chance(of)).unwrap()
    }

    fn on(&mut self, event: Event<i64>) {
        self.machine.on(event, Moment(self.now), &mut self.commands);
        self.obey();
    }

    fn obey(&mut self) {
        for command in std::mem::take(&mut self.commands) {
            match command {
                Command::Open(id) => {
                    self.clients.insert(id, Client::default());
                }
                Command::Send { producer, ticket, row, .. } => self.produce(producer, ticket, row),
                Command::Say(_) | Command::Stopped => {}
                Command::Release(lanes) => self.answers.extend(lanes.into_iter().map(Event::LaneTaken)),
                task @ (Command::Look(_)
                | Command::LookDue(_)
                | Command::LookAside(_)
                | Command::Purge(_)
                | Command::Mark(_)
                | Command::Ask(_)
                | Command::Tell(_)) => self.tasks.push(task),
            }
        }
    }

    fn produce(&mut self, producer: ProducerId, ticket: Ticket, row: Row<i64>) {
        let client = self.clients.get_mut(&producer).expect("it is open");
        let topic = self.table[&row.record].topic;
        if client.fatal {
            self.deliveries.push(refusal(ticket, RefusalMeaning::Producer));
        } else {
            client.queues[topic].push_back((ticket, row));
        }
    }

    /// Somebody inserts, commits, kills or heals something.
    pub(super) fn disturb(&mut self) {
        match self.chance(24) {
            0..=3 => {
                self.open.insert(self.next_id, Vec::new());
                self.next_id += 1;
            }
            4..=11 => self.draw(),
            12..=17 => self.commit(),
            18 => {
                let topic = self.index(4);
                self.brokers[topic].sick ^= true;
            }
            19 => {
                let topic = self.index(4);
                self.brokers[topic].missing = !self.brokers[topic].missing && self.chance(3) == 0;
            }
            20 if self.chance(10) == 0 => {
                let lane = i32::try_from(self.chance(3)).unwrap();
                match self.chance(3) {
                    0 => self.on(Event::LaneWanted(lane)),
                    1 => self.on(Event::LaneTouched(lane)),
                    _ => {
                        self.on(Event::LaneLost(lane));
                        self.on(Event::LaneTaken(lane));
                    }
                }
            }
            21 if self.chance(10) == 0 => {
                for client in self.clients.values_mut() {
                    client.fatal = true;
                }
            }
            _ => {}
        }
    }

    fn draw(&mut self) {
        let nth = self.index(self.open.len());
        let Some(id) = self.open.keys().nth(nth).copied() else { return };
        self.last_seq += 1;
        let topic = self.index(4);
        let too_large = self.chance(40) == 0;
        let due = (self.chance(6) == 0).then(|| self.now + 1 + self.chance(300));
        let bytes = if too_large { 2_000 } else { 50 + self.index(400) };
        let (key, drawn_at) = (self.chance(3), self.step);
        let stored = Stored { topic, key, bytes, due, drawn_at, committed_at: 0, ended: false };
        self.open.entry(id).or_default().push((self.last_seq, stored));
    }

    fn commit(&mut self) {
        let nth = self.index(self.open.len());
        let Some(id) = self.open.keys().nth(nth).copied() else { return };
        if id % 5 == 0 && !self.healthy && self.chance(20) > 0 {
            return;
        }
        self.last_ended = self.last_ended.max(id);
        for (seq, mut stored) in self.open.remove(&id).unwrap_or_default() {
            stored.committed_at = self.step;
            self.table.insert(seq, stored);
        }
    }

    /// One thing goes on.
    pub(super) fn step(&mut self) {
        self.step += 1;
        match self.chance(6) {
            0 => self.serve(),
            1 | 2 if !self.tasks.is_empty() => {
                let nth = self.index(self.tasks.len());
                let task = self.tasks.swap_remove(nth);
                self.run(task);
            }
            3 if !self.answers.is_empty() => {
                let nth = self.index(self.answers.len());
                let answer = self.answers.remove(nth);
                if matches!(answer, Event::Purged(_)) {
                    self.deliver();
                }
                self.on(answer);
            }
            4 => self.deliver(),
            _ => {
                let until = self.machine.next_timer(Moment(self.now)).0;
                let late = self.chance(20);
                self.now = if self.chance(3) > 0 { until } else { self.now.max(until.min(self.now + late)) };
                self.on(Event::TimerDue);
            }
        }
    }

    fn deliver(&mut self) {
        let deliveries = std::mem::take(&mut self.deliveries);
        if !deliveries.is_empty() {
            self.on(Event::Delivered(deliveries));
        }
    }

    /// The broker takes, or refuses, a batch.
    fn serve(&mut self) {
        let nth = self.index(self.clients.len());
        let Some(id) = self.clients.keys().nth(nth).copied() else { return };
        let (topic, rows) = (self.index(4), 1 + self.index(12));
        let is_lost = !self.healthy && self.chance(30) == 0;
        let client = self.clients.get_mut(&id).unwrap();
        let queue = &mut client.queues[topic];
        let broker = &self.brokers[topic];
        if client.fatal || broker.sick || queue.is_empty() {
            return;
        }
        let batch: Vec<_> = queue.drain(..rows.min(queue.len())).collect();
        if broker.missing {
            // There is a gap now, so nothing that comes later may pass.
            client.fatal = true;
            self.deliveries.extend(batch.iter().map(|(ticket, _)| refusal(*ticket, RefusalMeaning::Topic)));
            return;
        }
        if batch.iter().map(|(_, row)| row.bytes).sum::<usize>() > broker.bytes_max {
            client.fatal = true;
            self.deliveries.extend(batch.iter().map(|(ticket, _)| refusal(*ticket, RefusalMeaning::Record)));
            return;
        }
        if is_lost {
            // The answer never comes: the client gives up.
            client.fatal = true;
        }
        for (ticket, row) in batch {
            self.append(topic, row.record);
            if !is_lost {
                self.deliveries.push(Delivery { ticket, result: Ok((0, row.seq)) });
            }
        }
        if is_lost {
            self.deliveries.push(refusal(Ticket(usize::MAX), RefusalMeaning::Producer));
        }
    }

    fn append(&mut self, topic: usize, seq: i64) {
        if !self.brokers[topic].log.insert(seq) {
            return;
        }
        let row = self.table[&seq].clone();
        if let Some(due) = row.due {
            assert!(due <= self.now, "seed {}: {seq} was published before its time", self.seed);
            return;
        }
        for (before, other) in self.table.range(..seq) {
            let precedes = (other.topic, other.key) == (topic, row.key) && other.committed_at < row.drawn_at;
            // One that dies needs not be written as dead yet.
            let dies = other.bytes > self.brokers[topic].bytes_max;
            let is_missing =
                !(other.due.is_some() || other.ended || dies || self.brokers[topic].log.contains(before));
            assert!(!(precedes && is_missing), "seed {}: {seq} was published before {before}", self.seed);
        }
    }

    fn run(&mut self, task: Command<i64>) {
        let failure = Failure { wait: Duration::from_millis(50), connection_lost: self.chance(2) == 0 };
        let fails = !self.healthy && self.chance(15) == 0;
        let answer = match task {
            Command::Look(look) => Event::Looked(if fails { Err(failure) } else { Ok(self.page(&look)) }),
            Command::LookDue(look) => {
                Event::LookedDue(if fails { Err(failure) } else { Ok(self.due_page(&look)) })
            }
            Command::LookAside(look) => {
                Event::LookedAside(if fails { Err(failure) } else { Ok(self.topic_page(&look)) })
            }
            Command::Mark(batch) => {
                if !fails || self.chance(2) == 0 {
                    self.mark(&batch);
                }
                Event::Marked(if fails { Err(failure) } else { Ok(Marked::Done) })
            }
            Command::Ask(asked) => {
                let missing = |topic: &Arc<str>| self.brokers[place(topic)].missing;
                Event::Asked(Ok(asked.into_iter().filter(missing).collect()))
            }
            Command::Purge(id) => {
                self.clients.remove(&id);
                Event::Purged(id)
            }
            Command::Tell(tell) => Event::Told(Ok(tell)),
            Command::Open(_)
            | Command::Send { .. }
            | Command::Release(_)
            | Command::Say(_)
            | Command::Stopped => unreachable!("it takes no time"),
        };
        self.answers.push(answer);
    }

    fn mark(&mut self, batch: &MarkBatch<i64>) {
        for published in &batch.published {
            let row = self.table.get_mut(&published.row.record).unwrap();
            assert!(self.brokers[row.topic].log.contains(&published.row.seq), "it was not published");
            row.ended = true;
        }
        for (refused, _) in &batch.refused {
            let row = self.table.get_mut(&refused.record).unwrap();
            assert!(
                row.bytes > self.brokers[row.topic].bytes_max,
                "seed {}: an innocent row died",
                self.seed
            );
            row.ended = true;
        }
    }

    fn rows(
        &self,
        lanes: &[i32],
        bounds: &[i64],
        takes: impl Fn(usize, i64, &Stored) -> bool,
    ) -> Vec<Row<i64>> {
        let mut rows = Vec::new();
        for (place, lane) in lanes.iter().enumerate() {
            let of_lane = self.table.iter().filter(|(_, row)| lane_of(row) == *lane && !row.ended);
            let fit = of_lane.filter(|(seq, row)| takes(place, **seq, row));
            rows.extend(fit.take(usize::try_from(bounds[place]).unwrap()).map(|(seq, row)| Row {
                lane: *lane,
                seq: *seq,
                topic: TOPICS[row.topic].into(),
                bytes: row.bytes,
                memory: row.bytes,
                unfit: None,
                record: *seq,
            }));
        }
        rows.sort_by_key(|row| row.seq);
        rows
    }

    fn page(&mut self, look: &Look) -> Page<i64> {
        let xmax = self.last_ended + 1;
        let gone = |id: &i64| *id < xmax && !self.open.contains_key(id);
        let ended: Vec<i64> = look.stragglers.iter().copied().filter(gone).collect();
        let floors =
            look.stragglers.iter().zip(&look.floors).filter(|(id, _)| gone(id)).map(|(_, floor)| *floor);
        let floor = floors.min().unwrap_or(i64::MAX);
        let open = self.open.keys().copied().filter(|id| *id < xmax && *id < look.open_below);
        let open = open.take(usize::try_from(look.open_max).unwrap()).collect();
        let mut rows = self.rows(&look.lanes, &look.bounds, |place, seq, row| {
            seq > look.late[place].min(floor) && row.due.is_none() && !holds(&look.without, row)
        });
        let is_cut = cut(&mut rows, look.rows_max, look.bytes_max);
        let due = self.table.values().filter(|row| !row.ended).filter_map(|row| row.due).min();
        let next_due =
            due.filter(|_| look.schedule).map(|due| Duration::from_millis(due.saturating_sub(self.now)));
        let own_id = look.sample.then(|| {
            let id = self.next_id;
            self.next_id += 1;
            self.last_ended = self.last_ended.max(id);
            id
        });
        Page {
            rows,
            is_cut,
            snapshot: Snapshot { server: 1, last_seq: self.last_seq, xmax, own_id, open, ended },
            next_due,
        }
    }

    fn due_page(&self, look: &LookDue) -> DuePage<i64> {
        let is_due = |row: &Stored| row.due.is_some_and(|due| due <= self.now);
        let mut rows =
            self.rows(&look.lanes, &look.bounds, |_, _, row| is_due(row) && !holds(&look.without, row));
        let is_cut = cut(&mut rows, look.rows_max, look.bytes_max);
        let to_come =
            self.table.values().filter(|row| !row.ended && !is_due(row)).filter_map(|row| row.due).min();
        let next_due = to_come.map(|due| Duration::from_millis(due - self.now));
        DuePage { server: 1, rows, is_cut, next_due }
    }

    fn topic_page(&self, look: &LookAside) -> AsidePage<i64> {
        let topic = place(&look.topic);
        let mut rows = self.rows(&look.lanes, &look.bounds, |_, _, row| {
            row.topic == topic && row.due.is_none_or(|due| due <= self.now)
        });
        let is_cut = cut(&mut rows, look.rows_max, look.bytes_max);
        AsidePage { server: Some(1), rows, is_cut }
    }

    /// Nothing is disturbed any more: all that is there ends in time, and nothing is left in hand.
    pub(super) fn ends_all(&mut self) {
        self.healthy = true;
        for broker in &mut self.brokers {
            (broker.sick, broker.missing) = (false, false);
        }
        while !self.open.is_empty() {
            self.commit();
        }
        for _ in 0..60_000 {
            self.step();
            if self.table.values().all(|row| row.ended) && self.machine.lanes.in_hand() == 0 {
                return;
            }
        }
        let left: Vec<_> = self.table.iter().filter(|(_, row)| !row.ended).collect();
        panic!(
            "seed {}: not ended: {left:?}\nin hand: {}\n{:#?}",
            self.seed,
            self.machine.lanes.in_hand(),
            self.machine
        );
    }
}

fn holds(without: &[Arc<str>], row: &Stored) -> bool {
    without.iter().any(|topic| **topic == *TOPICS[row.topic])
}

fn place(topic: &str) -> usize {
    TOPICS.iter().position(|name| *name == topic).unwrap()
}

fn refusal(ticket: Ticket, meaning: RefusalMeaning) -> Delivery {
    Delivery { ticket, result: Err(Refusal { meaning, reason: "no".into(), by_client: false }) }
}
