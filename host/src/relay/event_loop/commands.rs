//! Commands of the machine, done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Ended, Record, RelayLoop, release};
use crate::db::{Db, DbError, wake};
use crate::kafka::KafkaError;
use crate::lane::Lease;
use crate::outbox;
use crate::relay::record;
use mailroom_core::relay::{Command, Event, MarkBatch, Marked, Notice, SLEEP, Tell};

impl RelayLoop {
    /// Does what the machine commanded. What takes time becomes a task.
    pub(super) fn execute(&mut self) -> Result<(), KafkaError> {
        let mut answers = Vec::new();
        let mut commands = std::mem::take(&mut self.commands);
        for command in commands.drain(..) {
            match command {
                Command::Open(producer) => self.outlets.open(producer)?,
                Command::Send { producer, ticket, row, timestamp } => {
                    answers.extend(self.outlets.send(producer, ticket, row, timestamp));
                }
                Command::Purge(producer) => {
                    let purge = self.outlets.purge(producer);
                    self.purges.push(Box::pin(async move {
                        purge.await;
                        producer
                    }));
                }
                Command::Say(notice) => {
                    self.show(&notice);
                    say(&notice);
                }
                Command::Stopped => self.stopped = true,
                command @ (Command::Look(_)
                | Command::LookDue(_)
                | Command::LookAside(_)
                | Command::Mark(_)
                | Command::Ask(_)
                | Command::Tell(_)
                | Command::Release(_)) => {
                    let task = self.task(command);
                    self.tasks.extend(task);
                }
            }
        }
        self.commands = commands;
        if !answers.is_empty() {
            self.events.push_back(Event::Delivered(answers));
        }
        Ok(())
    }

    fn task(&mut self, command: Command<Record>) -> Option<BoxFuture<'static, Ended>> {
        let db = self.relay.db.clone();
        Some(match command {
            Command::Look(look) => {
                Box::pin(async move { Ended::Looked(outbox::read(&db, &look, record::unfit).await) })
            }
            Command::LookDue(look) => {
                Box::pin(async move { Ended::LookedDue(outbox::read_due(&db, &look, record::unfit).await) })
            }
            Command::LookAside(look) => {
                Box::pin(
                    async move { Ended::LookedAside(outbox::read_aside(&db, &look, record::unfit).await) },
                )
            }
            Command::Mark(batch) => {
                let leases = self.leases_of(&batch);
                Box::pin(async move { Ended::Marked(mark(&db, &leases, &batch).await, leases) })
            }
            Command::Ask(topics) => {
                let client = self.topics.clone();
                let names: Vec<String> = topics.iter().map(|topic| topic.to_string()).collect();
                Box::pin(async move {
                    let missing = client.missing(&names).await;
                    Ended::Asked(missing.map(|missing| missing.into_iter().map(Arc::from).collect()))
                })
            }
            Command::Tell(tell) => {
                let host = self.relay.session.id;
                Box::pin(async move {
                    let told = match tell {
                        Tell::Asleep => wake::sleep(&db, host, SLEEP).await,
                        Tell::Awake => wake::awake(&db, host).await,
                    };
                    Ended::Told(told.map(|()| tell))
                })
            }
            Command::Release(lanes) => {
                let leases = lanes.iter().filter_map(|lane| self.leases.remove(lane)).collect();
                Box::pin(async move {
                    release(&db, leases).await;
                    Ended::Released
                })
            }
            Command::Open(_)
            | Command::Send { .. }
            | Command::Purge(_)
            | Command::Say(_)
            | Command::Stopped => return None,
        })
    }

    /// Shows to others which topics' messages wait.
    fn show(&mut self, notice: &Notice) {
        match notice {
            Notice::TopicWaits { topic, why } => {
                let begin = || self.relay.db.waits().begin(format!("topic {topic}, to publish there"), why);
                self.held.entry(Arc::clone(topic)).or_insert_with(begin).lasts(why);
            }
            Notice::TopicGoesOn { topic, .. } => {
                self.held.remove(topic);
            }
            Notice::ProducerRenewed { .. }
            | Notice::WithoutTimestamps { .. }
            | Notice::AnotherServer
            | Notice::SequenceFellBack { .. } => {}
        }
    }

    fn leases_of(&self, batch: &MarkBatch<Record>) -> BTreeMap<i32, Lease> {
        let published = batch.published.iter().map(|published| published.row.lane);
        let lanes = published.chain(batch.refused.iter().map(|(row, _)| row.lane));
        lanes.filter_map(|lane| Some((lane, self.leases.get(&lane)?.clone()))).collect()
    }
}

async fn mark(db: &Db, leases: &BTreeMap<i32, Lease>, batch: &MarkBatch<Record>) -> Result<Marked, DbError> {
    // A lane that was lost, which the machine has not heard of yet: without a lease nothing would be fenced.
    let published = batch.published.iter().map(|published| published.row.lane);
    let lanes = published.chain(batch.refused.iter().map(|(row, _)| row.lane));
    let lost: BTreeSet<i32> = lanes.filter(|lane| !leases.contains_key(lane)).collect();
    if !lost.is_empty() {
        return Ok(Marked::LanesLost(lost.into_iter().collect()));
    }
    for (row, reason) in &batch.refused {
        let id = row.record.id;
        tracing::warn!(message.id = %id, "Message {id} to topic {:?} is refused: {reason}", row.topic);
        let Some(lease) = leases.get(&row.lane) else { return Ok(Marked::LanesLost(vec![row.lane])) };
        if let lost @ Marked::LanesLost(_) = outbox::fail(db, lease, &row.record, reason).await? {
            return Ok(lost);
        }
    }
    if batch.published.is_empty() {
        return Ok(Marked::Done);
    }
    outbox::mark(db, leases, &batch.published).await
}

fn say(notice: &Notice) {
    match notice {
        Notice::TopicWaits { topic, why } => {
            tracing::warn!(messaging.destination.name = %topic, "Messages to topic {topic} wait: {why}");
        }
        Notice::TopicGoesOn { topic, after } => {
            let seconds = after.as_secs_f64();
            tracing::info!(messaging.destination.name = %topic, "Messages to topic {topic} go on after {seconds:.1} s");
        }
        Notice::ProducerRenewed { why } => {
            tracing::warn!(
                "The producer is made anew, and what it did not answer for is published anew: {why}"
            );
        }
        Notice::WithoutTimestamps { topic, why } => {
            tracing::warn!(
                messaging.destination.name = %topic,
                "Messages to topic {topic} are published without a time, since its broker refuses ours ({why}); \
                 compare the clocks of both machines"
            );
        }
        Notice::AnotherServer => {
            tracing::warn!(
                "Another Postgres answers, or it was started anew: what was committed last may be lost if it was a \
                 failover; all lanes of the outbox are read from their start"
            );
        }
        Notice::SequenceFellBack { from, to } => {
            tracing::error!(
                "The outbox's sequence fell back from {from} to {to}, as after a failover that lost commits: \
                 messages that were committed last may be lost; all lanes are read from their start"
            );
        }
    }
}
