//! Commands in an order that no machine would give, of sessions that live or are long dead, under tokens that hold or do
//! not: what a statement does is asked of rows of every kind.

use std::sync::Arc;
use std::time::Duration;

use mailroom_core::handler_machine::command::{Begin, Command, Read, ReadId, ReadWhat};
use mailroom_core::ids::{LaneId, LaneToken, Lease, OrderBy, OrderKey, Seq, TopicPartition};
use mailroom_core::verdict::LOST_MAX;

use super::{Broken, Deed, Tables, Witness, deed};
use crate::choices::Choices;
use crate::guest::{Effects, KeyState};
use crate::job::{Job, Task};
use crate::kafka::{Kafka, Log};
use crate::postgres::operator::Act;
use crate::postgres::reads::{as_read, cursor, order_by};
use crate::postgres::table::NOBODY;
use crate::postgres::{Flow, Postgres, Row, Session, StateId};
use crate::setup::EXPIRY;

/// Processes, each of which has one session after another.
const WORKERS: usize = 3;
/// Records of each log, more than a run stores.
const LOG_LENGTH: usize = 10_000;

pub(super) struct Loose {
    pub(super) choices: Choices,
    pub(super) pg: Postgres,
    kafka: Kafka,
    now: u64,
    witness: Box<dyn Witness>,
    history: Vec<String>,
    differs: Option<String>,
    partitions: Vec<TopicPartition>,
    sessions: u32,
    /// The topics of the messages that were sent.
    pub(super) sent_to: Vec<Arc<str>>,
    pub(super) commands: u64,
}

impl Loose {
    pub(super) fn new(seed: u64, witness: Box<dyn Witness>) -> Self {
        let partition = |(topic, partition): (&str, i32)| TopicPartition { topic: topic.into(), partition };
        let partitions: Vec<TopicPartition> = [("a", 0), ("a", 1), ("b", 0)].map(partition).into();
        // No offset that is written lies behind the logs' ends.
        let log = Log::filled(LOG_LENGTH);
        let logs = partitions.iter().map(|partition| (partition.clone(), log.clone())).collect();
        Self {
            choices: Choices::fresh(seed),
            pg: Postgres::default(),
            kafka: Kafka { logs, ..Kafka::default() },
            now: 1000,
            witness,
            history: Vec::new(),
            differs: None,
            partitions,
            sessions: 0,
            sent_to: Vec::new(),
            commands: 0,
        }
    }

    pub(super) fn run(mut self, commands: u64) -> Result<(), Broken> {
        self.register();
        self.take_all();
        let lanes = self.lanes().into_iter();
        let found = lanes.filter_map(|lane| Some((self.partition(lane)?, self.lease(lane)))).collect();
        self.command(Session(1), Command::FindPositions(found));
        while self.commands < commands && self.differs.is_none() {
            self.step();
            self.commands += 1;
        }
        match self.differs {
            None => Ok(()),
            Some(text) => Err(Broken { rule: "twin", text, history: self.history }),
        }
    }

    fn step(&mut self) {
        match self.choices.weighted(&[10, 8, 8, 6, 4, 14, 30, 8, 12, 6]) {
            0 => self.now += self.choices.pick(&[1, 30, 200, 900, 2500, 7000]).unwrap_or(1),
            1 => self.live(),
            2 => self.take(),
            3 => self.give_back(),
            4 => self.mark(),
            5 => self.read(),
            6 => self.write(),
            7 => self.begin(),
            8 => self.act(),
            _ => self.settle_sql(),
        }
    }

    fn note(&mut self, line: &str) {
        self.history.push(format!("{:>7} {line}", self.now));
    }

    fn testify(&mut self, deed: &Deed<'_>) {
        let said = self.witness.did(deed, self.now, Tables::of(&self.pg));
        self.differs = said.err();
    }

    /// Does all statements of a task.
    fn perform(&mut self, session: Session, task: Task) {
        if self.differs.is_some() {
            return;
        }
        self.note(&format!("{} of {session}", crate::history::task(&task)));
        let tx = self.pg.begin();
        let mut job = Job::loose(session, self.now, task, tx);
        let reply = loop {
            let flow = job.statement(&mut self.pg, &self.kafka, self.now);
            let (reply, commits) = match flow {
                Flow::Next => {
                    job.step += 1;
                    continue;
                }
                Flow::Commit(reply) => (reply, true),
                Flow::Rollback(reply) => (reply, false),
                Flow::Wait(tx) => {
                    self.differs = Some(format!("it waits for {tx:?}"));
                    return;
                }
            };
            self.pg.end(job.tx, commits);
            break reply;
        };
        if let Some(deed) = deed(&job.task, session, &reply) {
            self.testify(&deed);
        }
    }

    pub(super) fn command(&mut self, session: Session, command: Command<KeyState, Effects>) {
        self.perform(session, Task::Command(command));
    }

    pub(super) fn lanes(&self) -> Vec<LaneId> {
        self.pg.lanes.rows(NOBODY).map(|(lane, _)| *lane).collect()
    }

    pub(super) fn a_lane(&mut self) -> LaneId {
        let lanes = self.lanes();
        self.choices.pick(&lanes).unwrap_or_default()
    }

    pub(super) fn partition(&self, lane: LaneId) -> Option<TopicPartition> {
        self.pg.lanes.get(NOBODY, &lane).map(|row| row.partition.clone())
    }

    /// The right to a lane that its owner has.
    fn lease(&self, lane: LaneId) -> Lease {
        let token = self.pg.lanes.get(NOBODY, &lane).map(|row| row.token);
        Lease { lane, token: token.unwrap_or_default() }
    }

    /// The right to a lane, or one that is lost.
    pub(super) fn some_lease(&mut self, lane: LaneId) -> Lease {
        let lease = self.lease(lane);
        let old = i64::from(self.choices.percent(6));
        Lease { token: LaneToken(lease.token.0 - old), ..lease }
    }

    /// A session that lives, or one that was registered once.
    pub(super) fn a_session(&mut self) -> Session {
        let living: Vec<Session> = self.pg.hosts.rows(NOBODY).map(|(session, _)| *session).collect();
        let any = Session(1 + self.choices.draw(self.sessions));
        if self.choices.percent(15) { any } else { self.choices.pick(&living).unwrap_or(any) }
    }

    /// The pending rows of a lane.
    pub(super) fn pending(&self, lane: LaneId) -> Vec<(Seq, Row)> {
        let rows = self.pg.inbox.rows(NOBODY).filter(|(_, row)| row.lane == lane && row.is_pending());
        rows.map(|(seq, row)| (*seq, row.clone())).collect()
    }

    fn register(&mut self) {
        self.sessions += 1;
        let (session, worker) = (Session(self.sessions), self.choices.index(WORKERS));
        self.note(&format!("h{worker} begins session {session}"));
        self.pg.register(session, worker, self.now + EXPIRY);
        self.testify(&Deed::Registered(session, worker));
    }

    fn live(&mut self) {
        let session = self.a_session();
        let living = self.pg.hosts.rows(NOBODY).count();
        match self.choices.weighted(&[4, 3, 5, 2, 1]) {
            0 if living < WORKERS => self.register(),
            0 | 1 => self.perform(session, Task::Beat),
            2 => self.perform(session, Task::Bury),
            3 => {
                self.note("free lanes are noted");
                self.pg.note_free_lanes(self.now);
                self.testify(&Deed::NotedFreeLanes);
            }
            _ => {
                self.note(&format!("{session} departs"));
                let tx = self.pg.begin();
                let gone = !matches!(self.pg.depart(tx, self.now, session), Flow::Wait(_));
                self.pg.end(tx, gone);
                self.testify(&Deed::Departed(session));
            }
        }
    }

    fn take_all(&mut self) {
        let (session, partitions) = (self.a_session(), self.partitions.clone());
        self.command(session, Command::Take(partitions));
    }

    fn take(&mut self) {
        let session = self.a_session();
        let lanes: Vec<LaneId> = self.lanes().into_iter().filter(|_| self.choices.percent(60)).collect();
        match self.choices.draw(5) {
            0 => {
                let held = self.choices.index(3);
                self.command(session, Command::Adopt { held });
            }
            1 => self.command(session, Command::Retake(lanes)),
            2 => {
                let some = lanes.iter().filter_map(|lane| self.partition(*lane)).collect();
                self.command(session, Command::Take(some));
            }
            3 => self.perform(session, Task::Look),
            _ => self.take_all(),
        }
    }

    fn give_back(&mut self) {
        let (session, lane) = (self.a_session(), self.a_lane());
        let lease = self.some_lease(lane);
        match self.choices.draw(4) {
            0 => self.command(session, Command::Release(vec![lease])),
            1 => self.perform(session, Task::Sweep(vec![lease])),
            2 => {
                let found = self.partition(lane).map(|partition| (partition, lease));
                self.command(session, Command::FindPositions(found.into_iter().collect()));
            }
            _ => self.command(session, Command::DrawSeqs(2)),
        }
    }

    fn mark(&mut self) {
        let session = self.a_session();
        let last = u32::try_from(self.pg.sequence).unwrap_or(0);
        let mut marks = Vec::new();
        for lane in self.lanes() {
            if self.choices.percent(50) {
                marks.push((self.some_lease(lane), Seq(i64::from(self.choices.draw(last + 1)))));
            }
        }
        self.command(session, Command::Mark(marks));
    }

    fn read(&mut self) {
        let (session, lane) = (self.a_session(), self.a_lane());
        let lease = self.some_lease(lane);
        let rows = self.pending(lane);
        let row = rows.get(self.choices.index(rows.len()));
        let goes_on = self.choices.percent(50);
        let after = row.filter(|_| goes_on);
        let command = match self.choices.weighted(&[2, 5, 3, 3]) {
            0 => Command::ReadStanding { lease, after: after.and_then(|(_, row)| row.okey) },
            1 => Command::ReadDue {
                lease,
                read: ReadId(1),
                after: after.map(|(seq, row)| (cursor(row.scheduled_at), *seq)),
                with_blocked: self.choices.percent(50),
            },
            2 => {
                let what = ReadWhat::Lane { after: after.map_or(Seq(0), |(seq, _)| *seq) };
                let limit = 1 + self.choices.index(4);
                Command::Read(Read { lease, read: ReadId(1), what, limit, bytes_max: usize::MAX })
            }
            _ => self.read_keys(lease, &rows),
        };
        self.command(session, command);
    }

    fn read_keys(&mut self, lease: Lease, rows: &[(Seq, Row)]) -> Command<KeyState, Effects> {
        let mut keys: Vec<(OrderBy, Seq)> = Vec::new();
        for (seq, row) in rows {
            let of = order_by(*seq, row);
            if keys.iter().all(|(known, _)| *known != of) {
                let after = if self.choices.percent(30) { *seq } else { Seq(0) };
                keys.push((of, after));
            }
        }
        keys.retain(|_| self.choices.percent(70));
        let up_to = rows.get(self.choices.index(rows.len())).map(|(seq, _)| *seq);
        let up_to = up_to.filter(|_| self.choices.percent(40));
        let (what, limit) = (ReadWhat::Keys { keys, up_to }, 1 + self.choices.index(3));
        Command::Read(Read { lease, read: ReadId(1), what, limit, bytes_max: usize::MAX })
    }

    fn begin(&mut self) {
        let lane = self.a_lane();
        let rows = self.pending(lane);
        let Some((seq, row)) = rows.get(self.choices.index(rows.len())) else { return };
        let lease = self.some_lease(lane);
        let mut message = (*as_read(*seq, row, self.now).message).clone();
        message.deliveries += u32::from(self.choices.percent(10));
        let tx = self.pg.begin();
        if self.choices.percent(25) {
            self.note(&format!("message {seq} came back"));
            let flow = self.pg.note_came_back(tx, lease, &message);
            self.pg.end(tx, matches!(flow, Flow::Commit(())));
            self.testify(&Deed::CameBack(lease, &message));
            return;
        }
        // Nobody runs alone that did not lose two deliveries.
        let begin = if row.deliveries < LOST_MAX { Begin::Once } else { Begin::Alone };
        self.note(&format!("message {seq} begins, {begin:?}"));
        let done = matches!(self.pg.note_begun(tx, lease, &message, begin), Flow::Commit(_));
        self.pg.end(tx, done);
        self.testify(&Deed::Begun(lease, &message, begin, done));
    }

    fn act(&mut self) {
        let letters = self.pg.letters.rows(NOBODY).filter(|(_, letter)| letter.open);
        let letters: Vec<Seq> = letters.map(|(seq, _)| *seq).collect();
        let blocks: Vec<(LaneId, OrderKey)> = self.pg.blocked.rows(NOBODY).map(|(block, _)| *block).collect();
        let lane = self.a_lane();
        let pending: Vec<Seq> = self.pending(lane).into_iter().map(|(seq, _)| seq).collect();
        let act = match self.choices.weighted(&[8, 3, 2, 1, 1, 2, 2, 2, 4]) {
            0 => self.choices.pick(&letters).map(Act::Replay),
            1 => self.choices.pick(&letters).map(Act::Discard),
            2 => self.choices.pick(&blocks).map(|(lane, key)| Act::Unlock(lane, key)),
            3 => Some(Act::Pause),
            4 => Some(Act::Resume),
            5 => self.choices.pick(&pending).map(Act::Hasten),
            6 => self.choices.pick(&pending).map(Act::Complete),
            7 => Some(Act::Write(StateId::Shared(self.choices.draw(2)))),
            _ => return self.tell_breaker(),
        };
        if let Some(act) = act {
            self.perform(Session(0), Task::Act(act));
        }
    }

    fn tell_breaker(&mut self) {
        let (session, is_short) = (self.a_session(), self.choices.percent(50));
        let recovery = Duration::from_millis(if is_short { 1 } else { 500 });
        let command = match self.choices.draw(3) {
            0 => Command::OpenBreaker { recovery, error: "no".into() },
            1 => Command::CloseBreaker,
            _ => Command::ClaimProbe { recovery },
        };
        self.command(session, command);
    }
}
