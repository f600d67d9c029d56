//! A connection while one command has it, and what becomes of it afterwards.
//!
//! A command is one or more statements that have one limit together. Where an answer is missing when the
//! connection is dropped, or a transaction is open, the socket is closed: Postgres rolls back, and nobody else meets
//! what the command left behind.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::{self, BoxFuture};
use futures_util::stream::{BoxStream, Stream};
use sqlx::postgres::{PgDatabaseError, PgQueryResult, PgRow, PgSeverity, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, Postgres, SqlStr};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::error::no_answer;
use super::pool::{Live, Pool};
use super::sender::Sender;
use super::silence::Silence;

/// Time without an answer after which a command is said by which the host believes something.
const SAID_AFTER: Duration = Duration::from_secs(2);

/// Subject of a command, for the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command<'c> {
    pub(super) doing: &'static str,
    /// The lanes of which the host believes something by its answer, where it does.
    pub(super) lanes: Option<&'c [i32]>,
}

/// A connection that a command has.
#[derive(Debug)]
pub(crate) struct Conn {
    live: Option<Live>,
    pool: Arc<Pool>,
    watch: Watch,
    left: Left,
    _place: OwnedSemaphorePermit,
}

/// Things that a command would leave behind if it ended now.
#[derive(Debug, Default)]
struct Left {
    /// A statement whose answer is not complete.
    unanswered: bool,
    /// A transaction.
    open: bool,
}

impl Conn {
    pub(super) fn new(
        (live, place): (Live, OwnedSemaphorePermit),
        pool: &Arc<Pool>,
        command: Command<'_>,
    ) -> Self {
        let watch = Watch::new(Arc::clone(pool.silence()), pool.limit(), command);
        Self { live: Some(live), pool: Arc::clone(pool), watch, left: Left::default(), _place: place }
    }

    /// Notes that a transaction begins, or has ended.
    pub(super) fn set_open(&mut self, open: bool) {
        self.left.open = open;
    }

    /// Error of the command once its limit has passed.
    pub(super) fn late(&self) -> Option<sqlx::Error> {
        self.watch.is_over(Instant::now()).then(|| no_answer(self.watch.limit))
    }

    /// Notes that a commit of this command was answered.
    pub(super) fn committed(&self) {
        self.pool.silence().committed();
    }

    /// Notes that a statement is sent; gives the way to send it and what watches over it.
    fn parts(&mut self) -> Option<(Sender<'_>, Sent<'_>)> {
        let Self { live, watch, left, pool, .. } = self;
        left.unanswered = true;
        watch.sent_at = Instant::now();
        let sender = Sender::new(&mut live.as_mut()?.connection, pool.session(), left.open);
        Some((sender, Sent { watch, left, pool }))
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let Some(live) = self.live.take() else { return };
        // Else dropped, which closes the socket and waits for nobody.
        if !self.left.unanswered && !self.left.open {
            self.pool.give_back(live);
        }
    }
}

/// A statement on its way.
struct Sent<'s> {
    watch: &'s mut Watch,
    left: &'s mut Left,
    pool: &'s Pool,
}

impl Sent<'_> {
    /// Notes that the answer is complete, or ends with this error.
    fn answered(&mut self, error: Option<&sqlx::Error>) {
        match error {
            None => self.left.unanswered = false,
            Some(error) if leaves_session(error) => self.left.unanswered = false,
            // Whatever ended this session may have ended those that are idle.
            Some(_) => self.pool.distrust_idle(),
        }
    }
}

/// Tells whether an error other than of the session's end leaves it useless: a pooler may say it of a server
/// that it lost, the server takes no writes any more, or the session is not the one in which a statement was
/// prepared.
fn lost_with(sqlstate: &str) -> bool {
    ["08", "57P", "25006", "26000", "42P05"].iter().any(|code| sqlstate.starts_with(code))
}

/// Tells whether Postgres refused a statement and goes on with the session.
pub(super) fn leaves_session(error: &sqlx::Error) -> bool {
    let refused = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    refused.is_some_and(|error| {
        let ended = matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
        !ended && !lost_with(error.code())
    })
}

/// Watches over a command's limit, and says where its answer is long in coming.
#[derive(Debug)]
pub(super) struct Watch {
    silence: Arc<Silence>,
    doing: &'static str,
    lanes: Option<Vec<i32>>,
    sent_at: Instant,
    deadline: Instant,
    limit: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl Watch {
    pub(super) fn new(silence: Arc<Silence>, limit: Duration, command: Command<'_>) -> Self {
        let now = Instant::now();
        let lanes = command.lanes.map(<[i32]>::to_vec);
        let deadline = now + limit;
        let first = if lanes.is_some() { deadline.min(now + SAID_AFTER) } else { deadline };
        let alarm = Box::pin(tokio::time::sleep_until(first));
        Self { silence, doing: command.doing, lanes, sent_at: now, deadline, limit, alarm }
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    /// Ready once the limit has passed.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<sqlx::Error> {
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let now = Instant::now();
            let quiet = now - self.sent_at;
            let over = self.is_over(now);
            let mut next = self.sent_at + SAID_AFTER;
            if over || now >= next {
                if let Some(lanes) = &self.lanes {
                    self.silence.say(self.doing, lanes, quiet, now);
                }
                next = now + Duration::from_secs(60);
            }
            if over {
                self.silence.hangs(now);
                return Poll::Ready(no_answer(self.limit));
            }
            self.alarm.as_mut().reset(next.min(self.deadline));
        }
    }

    /// Waits for an answer, or for the limit.
    pub(super) async fn answer<T>(
        &mut self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let mut answer = std::pin::pin!(answer);
        future::poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(answer),
            Poll::Pending => self.poll_limit(cx).map(Err),
        })
        .await
    }

    /// Notes that the next statement is sent.
    pub(super) fn sends(&mut self) {
        self.sent_at = Instant::now();
    }

    /// Notes that a commit was answered.
    pub(super) fn committed(&self) {
        self.silence.committed();
    }
}

type Step = Result<Either<PgQueryResult, PgRow>, sqlx::Error>;

/// The answer to a statement, row by row.
struct Answer<'s> {
    rows: BoxStream<'s, Step>,
    sent: Sent<'s>,
    ended: bool,
}

impl Stream for Answer<'_> {
    type Item = Step;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let step = match this.rows.as_mut().poll_next(cx) {
            Poll::Ready(step) => step,
            Poll::Pending => Some(Err(ready!(this.sent.watch.poll_limit(cx)))),
        };
        match &step {
            Some(Ok(_)) => {}
            None => {
                this.ended = true;
                this.sent.answered(None);
            }
            Some(Err(error)) => {
                this.ended = true;
                this.sent.answered(Some(error));
            }
        }
        Poll::Ready(step)
    }
}

impl<'c> Executor<'c> for &'c mut Conn {
    type Database = Postgres;

    fn fetch_many<'e, 'q, E>(self, query: E) -> BoxStream<'e, Step>
    where
        'c: 'e,
        E: Execute<'q, Postgres>,
        'q: 'e,
        E: 'q,
    {
        match self.parts() {
            Some((sender, sent)) => Box::pin(Answer { rows: sender.fetch_many(query), sent, ended: false }),
            None => Box::pin(futures_util::stream::once(future::ready(Err(sqlx::Error::PoolClosed)))),
        }
    }

    fn fetch_optional<'e, 'q, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: Execute<'q, Postgres>,
        'q: 'e,
        E: 'q,
    {
        Box::pin(async move {
            let (sender, mut sent) = self.parts().ok_or(sqlx::Error::PoolClosed)?;
            let answer = sent.watch.answer(sender.fetch_optional(query)).await;
            sent.answered(answer.as_ref().err());
            answer
        })
    }

    fn prepare_with<'e>(
        self,
        _: SqlStr,
        _: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(future::ready(Err(unsupported())))
    }

    fn describe<'e>(self, _: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(future::ready(Err(unsupported())))
    }
}

/// Nothing is prepared by hand: a statement's name would be lost with its transaction behind a pooler.
pub(super) fn unsupported() -> sqlx::Error {
    sqlx::Error::Protocol("statements are not prepared by hand".to_owned())
}
