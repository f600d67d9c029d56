//! A command under way: its statements one after another, its commit, its reply, and what may become of each.

use std::sync::Arc;

use mailroom_core::handler_machine::command::Command;
use mailroom_core::handler_machine::event::{
    BreakerReply, Event, Failure, FoundPosition, Outcome, SqlOutcome, WriteOutcome,
};
use mailroom_core::ids::{CallId, Lease, TopicPartition};
use mailroom_core::time::Moment;

use crate::guest::{Effects, KeyState};
use crate::kafka::Kafka;
use crate::postgres::lanes::{Taking, TakingNotes};
use crate::postgres::operator::Act;
use crate::postgres::settle::SettleNotes;
use crate::postgres::table::Tx;
use crate::postgres::{Flow, Postgres, Session};
use crate::setup::EXPIRY;

/// Work that is done at the database.
#[derive(Debug, Clone, Hash)]
pub(crate) enum Task {
    Command(Command<KeyState, Effects>),
    Beat,
    Bury,
    Look,
    /// Gives back lanes that nobody in the session has.
    Sweep(Vec<Lease>),
    Act(Act),
}

/// Reply that a client gets.
#[derive(Debug, Clone, Hash)]
pub(crate) enum Reply {
    Event(Box<Event<KeyState, Effects>>),
    /// True if the session's row is still there.
    Beaten(bool),
    Buried,
    /// Nobody listens.
    Nothing,
}

/// Progress of a job.
#[derive(Debug, Clone, Hash)]
pub(crate) enum Stage {
    Running,
    Committing(Reply),
    Replying(Reply),
}

/// A command or another piece of work, under way on a connection of its own.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: u64,
    /// The host, and which of its lives; nobody for an operator.
    pub(crate) host: Option<(usize, u32)>,
    pub(crate) session: Session,
    pub(crate) started: u64,
    pub(crate) task: Arc<Task>,
    pub(crate) step: usize,
    pub(crate) stage: Stage,
    pub(crate) tx: Tx,
    pub(crate) notes: Notes,
    /// Transaction that it waits for, and the state of the locks when it looked.
    pub(crate) waits: Option<(Tx, u64)>,
}

/// Facts that statements leave for those after them.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Notes {
    taking: TakingNotes,
    settle: SettleNotes,
}

/// Way in which a reply is missed.
#[derive(Debug, Clone)]
pub(crate) enum Lost {
    /// Surely without effect.
    NotDone(Failure),
    Unknown,
}

/// A transaction whose client is gone, and that is still open.
#[derive(Debug, Clone)]
pub(crate) struct Orphan {
    pub(crate) tx: Tx,
    pub(crate) session: Session,
    pub(crate) task: Arc<Task>,
    /// True if its commit was sent, and comes when it ends.
    pub(crate) commits: bool,
    pub(crate) until: u64,
}

impl Job {
    /// One that nobody waits for.
    pub(crate) fn loose(session: Session, started: u64, task: Task, tx: Tx) -> Self {
        Self {
            id: 0,
            host: None,
            session,
            started,
            task: Arc::new(task),
            step: 0,
            stage: Stage::Running,
            tx,
            notes: Notes::default(),
            waits: None,
        }
    }

    /// Does the next statement.
    pub(crate) fn statement(&mut self, pg: &mut Postgres, kafka: &Kafka, now: u64) -> Flow<Reply> {
        let (tx, step, session) = (self.tx, self.step, self.session);
        match &*self.task {
            Task::Command(command) => {
                let of = Statement { tx, step, session, now };
                of_command(command, pg, kafka, &mut self.notes, of)
            }
            Task::Beat => pg.renew(tx, session, now + EXPIRY).map(Reply::Beaten),
            Task::Bury => pg.bury(tx, Some(session), now).map(|_| Reply::Buried),
            Task::Look => Flow::Commit(event(Event::Looked(Arc::new(pg.look(session, self.started))))),
            Task::Sweep(leases) => pg.release(tx, now, leases).map(|()| Reply::Nothing),
            Task::Act(act) => pg.act(tx, now, act, step).map(|()| Reply::Nothing),
        }
    }

    /// Tells whether its statements are done.
    pub(crate) fn is_ending(&self) -> bool {
        !matches!(self.stage, Stage::Running)
    }

    /// Tells whether it does one thing that nobody else can come between.
    pub(crate) fn is_alone(&self) -> bool {
        match &*self.task {
            Task::Command(Command::Write(_) | Command::SettleSql { .. }) | Task::Act(_) => false,
            Task::Command(_) => self.notes.taking.is_nothing(),
            Task::Beat | Task::Bury | Task::Look | Task::Sweep(_) => true,
        }
    }

    /// Tells whether it was to take whatever is free, and nothing was.
    pub(crate) fn finds_nothing(&self) -> bool {
        matches!(&*self.task, Task::Command(Command::Adopt { .. }))
            && self.is_ending()
            && self.notes.taking.is_nothing()
    }

    /// Tells whether its effect changes what a lane believes, so that a lost reply leaves a doubt.
    pub(crate) fn believes(&self) -> bool {
        !matches!(
            &*self.task,
            Task::Look
                | Task::Command(Command::ReadStanding { .. } | Command::Read(_) | Command::ReadDue { .. })
        )
    }
}

struct Statement {
    tx: Tx,
    step: usize,
    session: Session,
    now: u64,
}

fn of_command(
    command: &Command<KeyState, Effects>,
    pg: &mut Postgres,
    kafka: &Kafka,
    notes: &mut Notes,
    of: Statement,
) -> Flow<Reply> {
    let Statement { tx, step, session, now } = of;
    match command {
        Command::Take(partitions) => {
            let taking = Taking::Partitions(partitions.clone());
            let flow = pg.take(tx, session, now, &taking, &mut notes.taking, step);
            flow.map(|lanes| event(Event::Taken { asked: partitions.clone(), outcome: Outcome::Done(lanes) }))
        }
        Command::Adopt { held } => {
            let flow = pg.take(tx, session, now, &Taking::Free { held: *held }, &mut notes.taking, step);
            flow.map(|lanes| event(Event::Taken { asked: Vec::new(), outcome: Outcome::Done(lanes) }))
        }
        Command::Retake(asked) => {
            let taking = Taking::Ours(asked.clone());
            let flow = pg.take(tx, session, now, &taking, &mut notes.taking, step);
            flow.map(|lanes| event(Event::Retaken { asked: asked.clone(), outcome: Outcome::Done(lanes) }))
        }
        Command::Release(leases) => pg.release(tx, now, leases).map(|()| released(leases)),
        Command::ReadStanding { lease, after } => {
            let page = pg.read_standing(*lease, *after);
            Flow::Commit(event(Event::Standing { lease: *lease, outcome: Outcome::Done(page) }))
        }
        Command::Read(read) => {
            let outcome = Outcome::Done(pg.read(read, now));
            Flow::Commit(event(Event::Read { lease: read.lease, read: read.read, outcome }))
        }
        Command::ReadDue { lease, read, after, with_blocked } => {
            let outcome = Outcome::Done(pg.read_due(*lease, *after, *with_blocked, now));
            Flow::Commit(event(Event::DueKeys { lease: *lease, read: *read, outcome }))
        }
        Command::Mark(marks) => pg.mark(tx, marks).map(|marked| {
            let asked = marks.iter().map(|(lease, _)| *lease).collect();
            event(Event::Marked { asked, outcome: Outcome::Done(marked) })
        }),
        Command::Write(write) => {
            let flow = pg.settle(tx, now, write, &mut notes.settle, step);
            flow.map(|outcome| event(Event::Written { write: write.id, outcome }))
        }
        Command::SettleSql { call, lease, settled } => {
            let flow = pg.settle_sql(tx, now, session, *lease, settled);
            flow.map(|outcome| event(Event::SqlSettled { call: *call, outcome }))
        }
        Command::FindPositions(partitions) => positions(partitions, pg, kafka, tx),
        Command::DrawSeqs(count) => {
            Flow::Commit(event(Event::SeqsDrawn(Outcome::Done(pg.draw_seqs(*count)))))
        }
        Command::OpenBreaker { recovery, .. } => {
            let until = Moment(now) + *recovery;
            pg.open_breaker(tx, until.0).map(|()| told(BreakerReply::Written))
        }
        Command::CloseBreaker => pg.close_breaker(tx).map(|()| told(BreakerReply::Written)),
        Command::ClaimProbe { recovery } => {
            let until = Moment(now) + *recovery;
            pg.claim_probe(tx, now, until.0).map(|ours| told(BreakerReply::Probe(ours)))
        }
        Command::DropSql(_)
        | Command::Call(_)
        | Command::Assign(_)
        | Command::Unassign(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::WakeRelay
        | Command::Say(_) => Flow::Rollback(Reply::Nothing),
    }
}

fn positions(
    partitions: &[(TopicPartition, Lease)],
    pg: &mut Postgres,
    kafka: &Kafka,
    tx: Tx,
) -> Flow<Reply> {
    let log = |of: &TopicPartition| kafka.logs.get(of).map_or((0, 0), |log| (log.low, log.high()));
    let bounds: Vec<_> = partitions.iter().map(|(of, _)| (of.clone(), log(of).0, log(of).1)).collect();
    pg.position(tx, &bounds).map(|rows| {
        let found = partitions.iter().zip(rows).map(|((of, lease), row)| {
            (of.clone(), lease.token, FoundPosition::At { next: row.next, epoch: row.epoch })
        });
        event(Event::Positioned(found.collect()))
    })
}

fn event(event: Event<KeyState, Effects>) -> Reply {
    Reply::Event(Box::new(event))
}

fn told(reply: BreakerReply) -> Reply {
    event(Event::BreakerTold(Outcome::Done(reply)))
}

fn released(leases: &[Lease]) -> Reply {
    event(Event::Released(leases.iter().map(|lease| lease.lane).collect()))
}

impl<R> Flow<R> {
    pub(crate) fn map<T>(self, change: impl FnOnce(R) -> T) -> Flow<T> {
        match self {
            Self::Wait(blocker) => Flow::Wait(blocker),
            Self::Next => Flow::Next,
            Self::Commit(result) => Flow::Commit(change(result)),
            Self::Rollback(result) => Flow::Rollback(change(result)),
        }
    }
}

/// Returns what a client hears in place of the reply that it missed.
pub(crate) fn missed(task: &Task, lost: &Lost) -> Reply {
    let command = match task {
        Task::Command(command) => command,
        Task::Beat | Task::Bury | Task::Look | Task::Sweep(_) | Task::Act(_) => return Reply::Nothing,
    };
    match command {
        Command::Take(asked) => event(Event::Taken { asked: asked.clone(), outcome: lost.outcome() }),
        Command::Adopt { .. } => event(Event::Taken { asked: Vec::new(), outcome: lost.outcome() }),
        Command::Retake(asked) => event(Event::Retaken { asked: asked.clone(), outcome: lost.outcome() }),
        Command::Release(leases) => released(leases),
        Command::ReadStanding { lease, .. } => {
            event(Event::Standing { lease: *lease, outcome: lost.outcome() })
        }
        Command::Read(read) => {
            event(Event::Read { lease: read.lease, read: read.read, outcome: lost.outcome() })
        }
        Command::ReadDue { lease, read, .. } => {
            event(Event::DueKeys { lease: *lease, read: *read, outcome: lost.outcome() })
        }
        Command::Mark(marks) => {
            let asked = marks.iter().map(|(lease, _)| *lease).collect();
            event(Event::Marked { asked, outcome: lost.outcome() })
        }
        Command::Write(write) => {
            let outcome = match lost {
                Lost::NotDone(failure) => WriteOutcome::NotDone(failure.clone()),
                Lost::Unknown => WriteOutcome::Unknown,
            };
            event(Event::Written { write: write.id, outcome })
        }
        Command::SettleSql { call, .. } => sql_missed(*call, lost),
        Command::FindPositions(partitions) => {
            let unknown = |of: &(TopicPartition, Lease)| (of.0.clone(), of.1.token, FoundPosition::Unknown);
            event(Event::Positioned(partitions.iter().map(unknown).collect()))
        }
        Command::DrawSeqs(_) => event(Event::SeqsDrawn(lost.outcome())),
        Command::OpenBreaker { .. } | Command::CloseBreaker | Command::ClaimProbe { .. } => {
            event(Event::BreakerTold(lost.outcome()))
        }
        Command::DropSql(_)
        | Command::Call(_)
        | Command::Assign(_)
        | Command::Unassign(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::WakeRelay
        | Command::Say(_) => Reply::Nothing,
    }
}

fn sql_missed(call: CallId, lost: &Lost) -> Reply {
    let outcome = match lost {
        Lost::NotDone(_) => SqlOutcome::Again,
        Lost::Unknown => SqlOutcome::Unknown,
    };
    event(Event::SqlSettled { call, outcome })
}

impl Lost {
    fn outcome<T>(&self) -> Outcome<T> {
        match self {
            Self::NotDone(failure) => Outcome::NotDone(failure.clone()),
            Self::Unknown => Outcome::Unknown,
        }
    }
}
