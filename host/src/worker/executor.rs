//! Carries out the machine's commands at the database, each as a future that gives what came of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use mailroom_core::handler_machine::command::{self, Command, EndedBy, LaneWrite, Settled, Write};
use mailroom_core::handler_machine::event::{
    self, BreakerReply, Failure, Outcome, SqlOutcome, TakenLane, WriteOutcome,
};
use mailroom_core::ids::{CallId, LaneId, Lease, TopicPartition};

use super::dropped::DropLog;
use super::{judge, taking};
use crate::db::{Db, DbError, GuestTx, Meaning, Progress, breakers, lanes};
use crate::inbox::{self, Origin};
use crate::lane::Session;
use crate::metrics::SettleMetrics;
use crate::pipeline::decide::DeadReason;
use crate::settle::{self, Effects, SettledWithSql, Settler, StateView};

pub(super) type Event = event::Event<StateView, Effects>;
pub(super) type ToDo = Command<StateView, Effects>;

/// Result of a command: its event, and the error for which Postgres may be said to be away.
pub(super) struct Done {
    pub(super) event: Event,
    pub(super) error: Option<DbError>,
}

impl Done {
    /// Sorts an answer into what the machine knows of it.
    fn of<T>(answer: Result<T, DbError>, event: impl FnOnce(Outcome<T>) -> Event) -> Self {
        match answer {
            Ok(answer) => Self { event: event(Outcome::Done(answer)), error: None },
            Err(error) => {
                let outcome = match error.progress() {
                    Progress::Unknown => Outcome::Unknown,
                    Progress::NotSent | Progress::NotCommitted => Outcome::NotDone(failure(&error)),
                };
                Self { event: event(outcome), error: outage(error) }
            }
        }
    }
}

/// The error of an outage: that no connection was free is load.
fn outage(error: DbError) -> Option<DbError> {
    Some(error).filter(|error| error.progress() != Progress::NotSent)
}

fn failure(error: &DbError) -> Failure {
    if error.is_late() { Failure::TooMuch } else { Failure::Away }
}

/// Parts of a handler's work that its commands need.
#[derive(Clone)]
pub(super) struct Executor {
    pub(super) db: Db,
    pub(super) session: Arc<Session>,
    pub(super) settler: Settler,
    /// Name of this host for people.
    pub(super) worker: Arc<str>,
    /// Time after a burial in which its host can prove that it lives, unless its process was started anew. One that is
    /// cut off for longer is believed dead: a message that ran alone on it is a letter until it comes again.
    pub(super) blamed_after: Duration,
    /// Topics that the handler takes.
    pub(super) topics: Arc<[String]>,
    pub(super) dropped: Arc<DropLog>,
    pub(super) metrics: SettleMetrics,
}

impl Executor {
    /// Takes the lanes of assigned partitions that are free, and asks for the others.
    pub(super) fn take(self, asked: Vec<TopicPartition>) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            let taken =
                taking::take(&self.db, self.session.id, &self.settler.group, &asked, self.blamed_after).await;
            Done::of(taken, |outcome| event::Event::Taken { asked, outcome })
        })
    }

    /// Takes lanes that nobody has.
    pub(super) fn adopt(self, held: usize) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            let (group, topics) = (&self.settler.group, &self.topics);
            let taken =
                taking::adopt(&self.db, self.session.id, group, topics, held, self.blamed_after).await;
            Done::of(taken, |outcome| event::Event::Taken { asked: Vec::new(), outcome })
        })
    }

    /// Takes our own lanes anew.
    pub(super) fn retake(self, asked: Vec<LaneId>) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            let taken = lanes::retake(&self.db, self.session.id, &asked).await;
            let taken = taken.map(|taken| taken.into_iter().filter_map(taking::taken_lane).collect());
            Done::of(taken, |outcome: Outcome<Vec<TakenLane>>| event::Event::Retaken { asked, outcome })
        })
    }

    /// Gives lanes back; where that fails, the sweep does it later.
    pub(super) fn release(self, leases: Vec<Lease>) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            if let Err(error) = lanes::release(&self.db, &leases).await {
                tracing::warn!(%error, "Lanes were not given back; the sweep does it later");
            }
            let released = leases.iter().map(|lease| lease.lane).collect();
            Done { event: event::Event::Released(released), error: None }
        })
    }

    /// Reads which keys of a lane wait or are blocked.
    pub(super) fn read_standing(
        self,
        lease: Lease,
        after: Option<mailroom_core::ids::OrderKey>,
    ) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            let page = inbox::read_standing(&self.db, lease, after).await;
            Done::of(page, |outcome| event::Event::Standing { lease, outcome })
        })
    }

    /// Reads rows; `claims` tells which a subscription takes.
    pub(super) fn read(
        self,
        of: Origin,
        read: command::Read,
        claims: impl Fn(&crate::message::Message) -> bool + Send + Sync + 'static,
    ) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            let rows = inbox::read_rows(&self.db, &of, &read).await.map(|mut rows| {
                rows.rows.iter_mut().for_each(|row| row.claimed = claims(&row.message));
                rows
            });
            Done::of(rows, |outcome| event::Event::Read { lease: read.lease, read: read.read, outcome })
        })
    }

    /// Reads which keys wait no longer.
    pub(super) fn read_due(
        self,
        lease: Lease,
        read: command::ReadId,
        after: Option<(event::DueCursor, mailroom_core::ids::Seq)>,
        with_blocked: bool,
    ) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            let due = inbox::read_due(&self.db, lease, after, with_blocked).await;
            Done::of(due, |outcome| event::Event::DueKeys { lease, read, outcome })
        })
    }

    /// Notes which messages may be begun.
    pub(super) fn mark(self, marks: Vec<(Lease, mailroom_core::ids::Seq)>) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            let marked = lanes::begin(&self.db, &marks).await;
            let asked = marks.into_iter().map(|(lease, _)| lease).collect();
            Done::of(marked, |outcome| event::Event::Marked { asked, outcome })
        })
    }

    /// Draws places in the order of the inbox.
    pub(super) fn draw_seqs(self, count: usize) -> BoxFuture<'static, Done> {
        Box::pin(async move { Done::of(inbox::draw(&self.db, count).await, event::Event::SeqsDrawn) })
    }

    /// Settles.
    pub(super) fn write(self, write: Write<Effects>) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            let (outcome, error) = match settle::settle(&self.db, &self.settler, &write).await {
                Ok(settle::Settled::Done(written, dropped)) => {
                    self.record(&write);
                    if let Some(dropped) = dropped {
                        self.metrics.dropped(dropped.records);
                        self.dropped.note(&self.settler.handler, &dropped);
                    }
                    (WriteOutcome::Done(written), None)
                }
                Ok(settle::Settled::LanesLost(lost)) => (WriteOutcome::LanesLost(lost), None),
                Ok(settle::Settled::Touched(touched)) => (WriteOutcome::Touched(touched), None),
                Ok(settle::Settled::OffsetMoved(moved)) => (WriteOutcome::OffsetMoved(moved), None),
                Ok(settle::Settled::StateLost(lost)) => (WriteOutcome::StateLost(lost), None),
                Err(error) => self.write_failed(&write, error),
            };
            Done { event: event::Event::Written { write: write.id, outcome }, error }
        })
    }

    /// Records a settlement.
    fn record(&self, write: &Write<Effects>) {
        let (mut messages, mut quarantined) = (0, 0);
        for (_, how) in write.lanes.iter().flat_map(LaneWrite::ended) {
            messages += 1;
            quarantined += usize::from(matches!(how.end, EndedBy::Host(DeadReason::Quarantined, _)));
        }
        self.metrics.settled(messages, quarantined);
    }

    fn write_failed(
        &self,
        write: &Write<Effects>,
        error: DbError,
    ) -> (WriteOutcome<Effects>, Option<DbError>) {
        if error.progress() == Progress::Unknown {
            return (WriteOutcome::Unknown, Some(error));
        }
        if error.meaning() != Meaning::BadData {
            return (WriteOutcome::NotDone(failure(&error)), outage(error));
        }
        let handler = &self.settler.handler;
        match only_message(write) {
            // What nobody was called for and is refused alone: an operator has to act.
            Only::Settled(settled) => match judge::blame(&settled.message, &settled.how, &error, handler) {
                None => (WriteOutcome::NotDone(Failure::Away), Some(error)),
                instead => (WriteOutcome::BadData(instead), None),
            },
            Only::Record(instead) => {
                let instead = instead.and_then(|(message, how)| judge::blame(message, how, &error, handler));
                (WriteOutcome::BadData(instead), None)
            }
            Only::Several => {
                tracing::debug!(handler.name = %handler, %error, "A settlement is refused and divided");
                (WriteOutcome::BadData(None), None)
            }
        }
    }

    /// Settles a message in its call's own transaction. That cannot be tried twice: where it fails, the message is
    /// called again, and where that was the handler's doing, it has failed.
    pub(super) fn settle_sql(
        self,
        call: CallId,
        lease: Lease,
        settled: Settled<Effects>,
        tx: Option<GuestTx>,
    ) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            let answer = match tx {
                Some(tx) => settle::settle_with_sql(tx, &self.session.key, lease, &settled).await,
                // It was rolled back meanwhile.
                None => Ok(SettledWithSql::StateLost),
            };
            let (outcome, error) = match answer {
                Ok(SettledWithSql::Done { rereads }) => {
                    self.metrics.settled(1, 0);
                    (SqlOutcome::Done { rereads, emitted: emits(&settled) }, None)
                }
                Ok(SettledWithSql::LaneLost) => (SqlOutcome::LaneLost, None),
                Ok(SettledWithSql::Missed) => (SqlOutcome::Missed, None),
                Ok(SettledWithSql::StateLost) => (SqlOutcome::Again, None),
                Err(error) if error.progress() == Progress::Unknown => (SqlOutcome::Unknown, Some(error)),
                Err(error) if error.is_guests_doing() => {
                    match judge::blame(&settled.message, &settled.how, &error, &self.settler.handler) {
                        Some(instead) => (SqlOutcome::Instead(instead), None),
                        None => (SqlOutcome::Again, Some(error)),
                    }
                }
                Err(error) => {
                    // Called again at once it would fail so again.
                    tokio::time::sleep(RETRY_SQL).await;
                    (SqlOutcome::Again, Some(error))
                }
            };
            Done { event: event::Event::SqlSettled { call, outcome }, error }
        })
    }

    /// Tells all hosts that the breaker is open.
    pub(super) fn open_breaker(self, recovery: Duration, error: Arc<str>) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            let group = &self.settler.group;
            let opened = breakers::open(&self.db, group, recovery, &self.worker, &error).await;
            Done::of(opened.map(|()| BreakerReply::Written), event::Event::BreakerTold)
        })
    }

    /// Tells all hosts that the breaker is closed.
    pub(super) fn close_breaker(self) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            let closed = breakers::close(&self.db, &self.settler.group).await;
            Done::of(closed.map(|_| BreakerReply::Written), event::Event::BreakerTold)
        })
    }

    /// Asks for the right to probe.
    pub(super) fn claim_probe(self, recovery: Duration) -> BoxFuture<'static, Done> {
        Box::pin(async move {
            let claimed = breakers::claim_probe(&self.db, &self.settler.group, recovery).await;
            Done::of(claimed.map(BreakerReply::Probe), event::Event::BreakerTold)
        })
    }
}

/// Wait after a transaction of a call's own failed.
const RETRY_SQL: Duration = Duration::from_millis(100);

fn emits(settled: &Settled<Effects>) -> bool {
    let EndedBy::Call(decision) = &settled.how.end else { return false };
    !decision.effects.outgoing.is_empty()
}

/// The only message of a settlement.
enum Only<'w> {
    Settled(&'w Settled<Effects>),
    /// A record, with how it ends where that is known.
    Record(Option<(&'w Arc<crate::message::Message>, &'w command::How<Effects>)>),
    Several,
}

fn only_message(write: &Write<Effects>) -> Only<'_> {
    let [LaneWrite { settled, insert, .. }] = write.lanes.as_slice() else { return Only::Several };
    let rows = insert.as_ref().map_or(&[][..], |insert| insert.rows.as_slice());
    match (settled.as_slice(), rows) {
        ([settled], []) if insert.is_none() => Only::Settled(settled),
        ([], [row]) => Only::Record(row.ended()),
        _ => Only::Several,
    }
}
