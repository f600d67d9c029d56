//! Events of the consumer.

use mailroom_core::ids::TopicPartition;
use tokio::time::Instant;

use super::chores::Chore;
use super::{Event, Ingest, TICK};
use crate::kafka::{self, Damage};

impl Ingest {
    /// Takes an event of the consumer; gives what it means for the machine.
    pub(super) fn consumed(&mut self, event: kafka::Event) -> Option<Event> {
        match event {
            kafka::Event::Records(records) => {
                self.kafka.over();
                self.reporting.moved();
                Some(Event::Polled(self.polled(records)))
            }
            kafka::Event::Assigned(partitions) => {
                self.kafka.over();
                // Kafka pauses everything until this is answered; offsets come once lanes are ours.
                self.answer(|consumer| consumer.assign(&[]));
                self.assigned.extend(partitions.iter().cloned());
                Some(Event::Assigned(partitions))
            }
            kafka::Event::Revoked(partitions) => Some(self.revoked(partitions)),
            kafka::Event::OutOfLog(Some(partition)) => Some(Event::Displaced(vec![partition])),
            kafka::Event::OutOfLog(None) => Some(Event::Displaced(self.logs.keys().cloned().collect())),
            kafka::Event::Damaged(partition, damage) => {
                self.damaged(partition, damage).map(|partition| Event::Displaced(vec![partition]))
            }
            kafka::Event::Sick(partition, error) => {
                if let Some(log) = self.logs.get_mut(&partition) {
                    log.is_sick(&partition, &error, &self.waits);
                }
                None
            }
            kafka::Event::TopicUnavailable(error) => {
                self.watched.hurry();
                tracing::debug!(%error, "A subscribed topic is missing or closed to us");
                self.topics_due = self.topics_due.min(Instant::now() + TICK);
                None
            }
            kafka::Event::Away(error) => {
                self.kafka.failed(&error);
                None
            }
            kafka::Event::Passing(error) => {
                tracing::debug!("The consumer of group {} goes on: {error}", self.handler.group);
                None
            }
            kafka::Event::Unexpected(error) => {
                self.unexpected.failed(&error);
                None
            }
            kafka::Event::Stuck(error) => {
                let (topics, subscribed) = (self.finder.topics.clone(), self.subscribed.clone());
                self.chores.push(Box::pin(async move {
                    Chore::OthersAnswered(topics.describe(subscribed).await.map(drop), error)
                }));
                None
            }
            kafka::Event::Fatal(error) => Some(self.rejoin(&error)),
        }
    }

    /// Gives the partition back where its position is to be found anew, where the gap policy applies: what follows damage
    /// in the queue may lie behind it, and is not taken.
    pub(super) fn damaged(&mut self, partition: TopicPartition, damage: Damage) -> Option<TopicPartition> {
        let log = self.logs.get_mut(&partition)?;
        if log.found.as_ref().is_none_or(|found| found.stopped.is_some()) {
            return None;
        }
        tracing::debug!("{partition} cannot be read at offset {}: {}", damage.offset, damage.reason);
        log.found = None;
        log.damage = Some(damage);
        Some(partition)
    }

    fn revoked(&mut self, partitions: Vec<TopicPartition>) -> Event {
        for partition in &partitions {
            self.assigned.remove(partition);
            self.logs.remove(partition);
        }
        Event::Revoked(partitions)
    }

    /// Drops the consumer and all that it was assigned. What is in Postgres goes on.
    pub(super) fn rejoin(&mut self, error: &str) -> Event {
        let wait = self.consumer.as_mut().map(kafka::Consumer::rejoin).unwrap_or_default();
        let group = &self.handler.group;
        tracing::error!(
            messaging.consumer.group.name = %group,
            "The consumer of group {group} is given up: {error}. Its partitions are free for others; another one \
             joins in {} s. If this repeats, check that this user may read group {group} and that nothing else uses it",
            wait.as_secs()
        );
        let assigned = self.assigned.iter().cloned().collect();
        self.revoked(assigned)
    }
}
