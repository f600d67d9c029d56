//! Carries out a machine's commands at Postgres, as its executor does.

use std::sync::Arc;

use mailroom_core::handler_machine::command::Command;
use mailroom_core::handler_machine::event::{FoundPosition, Outcome};
use mailroom_core::ids::{Lease, TopicPartition};
use mailroom_sim::twin::Session;
use tokio::time::Instant;
use uuid::Uuid;

use super::answers::{kind, told};
use super::times::TOLERANCE;
use super::translate::Translation;
use super::witness::{ModelCommand, ModelEvent, Real, same};
use crate::db::twin::{self, session_id};
use crate::db::{GuestTx, offsets};
use crate::inbox::Origin;
use crate::lane;
use crate::metrics::Metrics;
use crate::settle::Settler;
use crate::worker::executor::{Event, Executor};

impl Real {
    async fn executor(&self, session: Session) -> Executor {
        let id = session_id(session);
        let key = twin::settle_key(&self.db, id).await;
        let session = lane::Session::new(id, key, lane::Moment::now(), self.host.expiry);
        Executor {
            db: self.db.clone(),
            session: Arc::new(session),
            metrics: Metrics::unread().of_settlements("h"),
            settler: Settler { handler: "h".into(), group: "g".into(), host: "h0".into() },
            worker: "h0".into(),
            blamed_after: 2 * self.host.expiry,
            topics: ["a", "b"].map(str::to_owned).into(),
            dropped: Arc::default(),
        }
    }

    pub(super) async fn command(
        &mut self,
        session: Session,
        command: &ModelCommand,
        model: &ModelEvent,
        now: i64,
    ) -> Result<&'static str, String> {
        let executor = self.executor(session).await;
        let real = if let Command::FindPositions(partitions) = command {
            Some(self.positions(session, partitions).await)
        } else {
            self.ask_postgres(executor, command, now).await
        };
        let Some(real) = real else { return Ok("nothing of Postgres") };
        self.learn_lanes(model, &real).await;
        let said = told(model, &|lane| lane);
        same("the answer", &said, &told(&real, &|lane| self.model_lane(lane)))?;
        self.compare_times(model, &real, now)?;
        Ok(kind(model))
    }

    async fn ask_postgres(&self, executor: Executor, command: &ModelCommand, now: i64) -> Option<Event> {
        let done = match command {
            Command::Take(partitions) => executor.take(partitions.clone()),
            Command::Adopt { held } => executor.adopt(*held),
            Command::Retake(lanes) => {
                executor.retake(lanes.iter().map(|lane| self.real_lane(*lane)).collect())
            }
            Command::Release(leases) => {
                executor.release(leases.iter().map(|lease| self.lease(*lease)).collect())
            }
            Command::ReadStanding { lease, after } => executor.read_standing(self.lease(*lease), *after),
            Command::Read(read) => {
                let topic =
                    self.partitions.get(&read.lease.lane).map_or("".into(), |of| Arc::clone(&of.topic));
                let mut asked = read.clone();
                asked.lease = self.lease(read.lease);
                executor.read(Origin { group: "g".into(), topic }, asked, |_| true)
            }
            Command::ReadDue { lease, read, after, with_blocked } => {
                let after = after.map(|(at, seq)| (self.cursor(at, now), seq));
                executor.read_due(self.lease(*lease), *read, after, *with_blocked)
            }
            Command::Mark(marks) => {
                executor.mark(marks.iter().map(|(lease, seq)| (self.lease(*lease), *seq)).collect())
            }
            Command::Write(write) => executor.write(Translation(&|lane| self.real_lane(lane)).write(write)),
            Command::DrawSeqs(count) => executor.draw_seqs(*count),
            Command::OpenBreaker { recovery, error } => executor.open_breaker(*recovery, Arc::clone(error)),
            Command::CloseBreaker => executor.close_breaker(),
            Command::ClaimProbe { recovery } => executor.claim_probe(*recovery),
            Command::SettleSql { call, lease, settled } => {
                let deadline = Instant::now() + TOLERANCE;
                let tx = GuestTx::begin(&self.db, super::GUEST, deadline).await.unwrap();
                let settled = Translation(&|lane| self.real_lane(lane)).settled(settled);
                executor.settle_sql(*call, self.lease(*lease), settled, Some(tx))
            }
            Command::FindPositions(_)
            | Command::DropSql(_)
            | Command::Call(_)
            | Command::Assign(_)
            | Command::Unassign(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::WakeRelay
            | Command::Say(_) => return None,
        };
        Some(done.await.event)
    }

    /// Does what the consumer's side does at Postgres where a partition starts at its first record.
    async fn positions(&self, session: Session, partitions: &[(TopicPartition, Lease)]) -> Event {
        let take_over = async || {
            let topics: Vec<String> = partitions.iter().map(|(of, _)| of.topic.to_string()).collect();
            let numbers: Vec<i32> = partitions.iter().map(|(of, _)| of.partition).collect();
            offsets::take_over(&self.db, session_id(session), "g", &topics, &numbers).await.unwrap()
        };
        for (of, _) in partitions.iter().filter(|(of, _)| !self.model.offsets.contains_key(of)) {
            let starts = [(of.partition, 0)];
            offsets::begin_partitions(&self.db, "g", &of.topic, Uuid::nil(), &starts).await.unwrap();
        }
        let rows = take_over().await;
        let found = partitions.iter().map(|(of, lease)| {
            let row =
                rows.iter().find(|row| *row.topic == *of.topic && row.partition == of.partition).unwrap();
            (of.clone(), lease.token, FoundPosition::At { next: row.next_offset, epoch: row.epoch })
        });
        Event::Positioned(found.collect())
    }

    /// Notes which lanes are which, on both sides.
    async fn learn_lanes(&mut self, model: &ModelEvent, real: &Event) {
        let (ModelEvent::Taken { outcome, .. } | ModelEvent::Retaken { outcome, .. }) = model else { return };
        if let Outcome::Done(taken) = outcome {
            self.partitions.extend(taken.iter().map(|lane| (lane.lease.lane, lane.partition.clone())));
        }
        let (Event::Taken { outcome, .. } | Event::Retaken { outcome, .. }) = real else { return };
        if let Outcome::Done(taken) = outcome {
            self.snapshot.lanes.extend(taken.iter().map(|lane| (lane.partition.clone(), lane.lease.lane)));
        }
    }
}
