//! A command at Postgres under way: its statements, its commit, its reply, and what a client hears that misses it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mailroom_core::relay::{Command, Event, Failure, MarkBatch, Marked, Page};

use super::setup::{EXPIRY, Setup};
use super::store::{Message, Store};
use super::writes::{OwnedLane, Taken, Tokens};
use crate::postgres::table::Tx;
use crate::postgres::{Flow, Session};

/// Work that is done at the database.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    Command(Command<Message>),
    /// A mark with the tokens that the host had when it began.
    Mark(Arc<MarkBatch<Message>>, Tokens),
    Beat,
    Bury,
    /// Takes free lanes up to a share, while so many are held.
    Share {
        held: usize,
    },
    /// Looks which lanes are the session's.
    Look,
    Release(Vec<(i32, i64)>),
    /// An operator replays the message at this place.
    Replay(i64),
}

/// Reply that a client gets.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Event(Box<Event<Message>>),
    /// A mark has ended, under these tokens.
    Marked(Result<Marked, Failure>, Tokens),
    /// True if the session's row is still there.
    Beaten(bool),
    BeatMissed,
    Shared(Option<Taken>),
    Looked(Option<Vec<OwnedLane>>),
    Released,
    /// Nobody listens.
    Nothing,
}

/// Progress of a job.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    Running,
    Committing(Next),
    Replying(Reply),
}

/// Continuation after a commit.
#[derive(Debug, Clone)]
pub(crate) enum Next {
    /// Another transaction.
    Statement,
    Reply(Reply),
}

/// A command or another piece of work, on a connection of its own.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The host, and which of its lives; nobody for an operator.
    pub(crate) host: Option<(usize, u32)>,
    pub(crate) session: Session,
    pub(crate) started: u64,
    /// Number of take-overs by the standby when it began.
    pub(crate) server: u32,
    pub(crate) task: Arc<Task>,
    pub(crate) step: usize,
    pub(crate) stage: Stage,
    pub(crate) tx: Tx,
    /// Page that the look's snapshot showed.
    page: Option<Page<Message>>,
    /// Transaction that it waits for, and the state of the locks when it looked.
    pub(crate) waits: Option<(Tx, u64)>,
}

/// A transaction whose client is gone, and that is still open.
#[derive(Debug, Clone)]
pub(crate) struct Orphan {
    pub(crate) tx: Tx,
    pub(crate) task: Arc<Task>,
    /// True if its commit was sent, and comes when it ends.
    pub(crate) commits: bool,
    pub(crate) until: u64,
}

/// Continuation after a statement.
#[derive(Debug, Clone)]
pub(crate) enum Done {
    Wait(Tx),
    /// The next statement of the same transaction follows.
    Next,
    Commit(Next),
    Rollback(Reply),
}

impl Job {
    pub(crate) fn new(task: Task, tx: Tx, started: u64, server: u32) -> Self {
        Self {
            host: None,
            session: Session(0),
            started,
            server,
            task: Arc::new(task),
            step: 0,
            stage: Stage::Running,
            tx,
            page: None,
            waits: None,
        }
    }

    /// Tells whether its statements are done.
    pub(crate) fn is_ending(&self) -> bool {
        !matches!(self.stage, Stage::Running)
    }

    /// Does the next statement.
    pub(crate) fn statement(&mut self, store: &mut Store, setup: &Setup, now: u64) -> Done {
        let (tx, session) = (self.tx, self.session);
        match &*Arc::clone(&self.task) {
            Task::Command(command) => self.command(command, store, setup, now),
            Task::Mark(batch, tokens) => self.mark(batch, tokens, store),
            Task::Beat => of(store.renew(tx, session, now + EXPIRY), Reply::Beaten),
            Task::Bury => {
                store.bury(tx, session, now);
                Done::Commit(Next::Reply(Reply::Nothing))
            }
            Task::Share { held } => {
                of(store.take(tx, session, now, *held), |taken| Reply::Shared(Some(taken)))
            }
            Task::Look => Done::Commit(Next::Reply(Reply::Looked(Some(store.owned(session))))),
            Task::Release(leases) => of(store.release(tx, now, leases), |()| Reply::Released),
            Task::Replay(seq) => of(store.replay(tx, now, *seq), |()| Reply::Nothing),
        }
    }

    /// First each refused row in a transaction of its own, then all that were published in one.
    fn mark(&mut self, batch: &MarkBatch<Message>, tokens: &Tokens, store: &mut Store) -> Done {
        let tx = self.tx;
        let marked = |marked: Marked| Reply::Marked(Ok(marked), tokens.clone());
        let published = batch.published.iter().map(|published| published.row.lane);
        let lanes = published.chain(batch.refused.iter().map(|(row, _)| row.lane));
        let lost: BTreeSet<i32> = lanes.filter(|lane| !tokens.contains_key(lane)).collect();
        if !lost.is_empty() {
            return Done::Rollback(marked(Marked::LanesLost(lost.into_iter().collect())));
        }
        if let Some((row, _)) = batch.refused.get(self.step) {
            let Some(token) = tokens.get(&row.lane) else {
                return Done::Rollback(marked(Marked::LanesLost(vec![row.lane])));
            };
            return match store.fail(tx, (row.lane, *token), (row.seq, row.record.id)) {
                Flow::Wait(blocker) => Done::Wait(blocker),
                Flow::Next => Done::Next,
                Flow::Commit(_) => Done::Commit(Next::Statement),
                Flow::Rollback(lost) => Done::Rollback(marked(lost.unwrap_or(Marked::Done))),
            };
        }
        if batch.published.is_empty() {
            return Done::Rollback(marked(Marked::Done));
        }
        of(store.mark(tx, tokens, batch, self.step > batch.refused.len()), marked)
    }

    fn command(&mut self, command: &Command<Message>, store: &mut Store, setup: &Setup, now: u64) -> Done {
        let event = match command {
            Command::Look(look) => match (self.step, self.page.take()) {
                (0, _) | (_, None) => {
                    self.page = Some(store.look(look, &setup.topics, now));
                    return Done::Next;
                }
                (1, Some(mut page)) => {
                    page.snapshot.last_seq = store.sequence;
                    self.page = Some(page);
                    return Done::Next;
                }
                (_, Some(mut page)) => {
                    page.snapshot.own_id = look.sample.then(|| store.assign_id(self.tx));
                    Event::Looked(Ok(page))
                }
            },
            Command::LookDue(look) => Event::LookedDue(Ok(store.look_due(look, &setup.topics, now))),
            Command::LookAside(look) => Event::LookedAside(Ok(store.look_aside(look, &setup.topics, now))),
            Command::Tell(tell) => {
                match tell {
                    mailroom_core::relay::Tell::Asleep => {
                        let millis = mailroom_core::relay::SLEEP.as_millis();
                        let until = now + u64::try_from(millis).unwrap_or(0);
                        store.sleeps.insert(self.session, until);
                    }
                    mailroom_core::relay::Tell::Awake => {
                        store.sleeps.remove(&self.session);
                    }
                }
                Event::Told(Ok(*tell))
            }
            Command::Mark(_)
            | Command::Ask(_)
            | Command::Open(_)
            | Command::Send { .. }
            | Command::Purge(_)
            | Command::Release(_)
            | Command::Say(_)
            | Command::Stopped => return Done::Rollback(Reply::Nothing),
        };
        Done::Commit(Next::Reply(Reply::Event(Box::new(event))))
    }
}

fn of<T>(flow: Flow<T>, reply: impl FnOnce(T) -> Reply) -> Done {
    match flow {
        Flow::Wait(blocker) => Done::Wait(blocker),
        Flow::Next => Done::Next,
        Flow::Commit(result) => Done::Commit(Next::Reply(reply(result))),
        Flow::Rollback(result) => Done::Rollback(reply(result)),
    }
}

/// Returns what a client hears in place of the reply that it missed.
pub(crate) fn missed(task: &Task, wait: u64, connection_lost: bool) -> Reply {
    let failure = Failure { wait: Duration::from_millis(wait), connection_lost };
    let event = match task {
        Task::Command(Command::Look(_)) => Event::Looked(Err(failure)),
        Task::Command(Command::LookDue(_)) => Event::LookedDue(Err(failure)),
        Task::Command(Command::LookAside(_)) => Event::LookedAside(Err(failure)),
        Task::Command(Command::Tell(_)) => Event::Told(Err(failure)),
        Task::Command(_) | Task::Bury | Task::Replay(_) => return Reply::Nothing,
        Task::Mark(_, tokens) => return Reply::Marked(Err(failure), tokens.clone()),
        Task::Beat => return Reply::BeatMissed,
        Task::Share { .. } => return Reply::Shared(None),
        Task::Look => return Reply::Looked(None),
        Task::Release(_) => return Reply::Released,
    };
    Reply::Event(Box::new(event))
}
