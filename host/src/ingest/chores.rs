//! Looks at Kafka and Postgres that the reading side makes beside the polls.

use std::time::Duration;

use mailroom_core::handler_machine::event::FoundPosition;
use mailroom_core::ids::{LaneId, LaneToken, TopicPartition};
use tokio::time::Instant;

use super::positions::{Finder, Found, Lost, Unfound};
use super::quiet::ReadFrom;
use super::{Event, Ingest, Missing};
use crate::config::Start;
use crate::db::{DbError, offsets};
use crate::kafka::KafkaError;
use crate::reminder::Reminder;

/// Interval of the looks after missing topics.
const TOPICS_TICK: Duration = Duration::from_secs(3);

/// A look that ended.
pub(crate) enum Chore {
    /// Positions were looked for, under these tokens of their lanes.
    Found(Vec<(TopicPartition, LaneToken)>, Result<Vec<(TopicPartition, Found)>, Unfound>),
    /// Progress of lanes.
    Reached(Vec<(TopicPartition, LaneId)>, Result<Vec<offsets::Reached>, DbError>),
    /// Subscribed topics that the cluster does not have.
    Missing(Result<Vec<String>, KafkaError>),
    /// Partitions that gave nothing were read from.
    Quiet(Vec<ReadFrom>),
    /// Kafka was asked for something else while a consumer repeats an error.
    OthersAnswered(Result<(), KafkaError>, String),
}

impl Chore {
    /// Finds positions.
    pub(super) async fn found(finder: Finder, lost: Vec<Lost>, tokens: Vec<LaneToken>, start: Start) -> Self {
        let partitions = lost.iter().map(|of| of.partition.clone()).zip(tokens).collect();
        Self::Found(partitions, finder.find(lost, start).await)
    }
}

impl Ingest {
    /// Takes what a look gave; gives what it means for the machine.
    pub(super) fn chore_ended(&mut self, chore: Chore) -> Option<Event> {
        match chore {
            Chore::Found(partitions, found) => Some(self.positioned(&partitions, found)),
            Chore::Reached(lanes, Ok(reached)) => {
                let policy = self.handler.current().manifest().commit_offset;
                let moved = self.reporting.reached(lanes, &reached, policy);
                if let (Some(consumer), false) = (&self.consumer, moved.is_empty()) {
                    consumer.report(&moved);
                }
                None
            }
            // It is for people's tools: the next time.
            Chore::Reached(_, Err(error)) => {
                self.reporting.failed();
                tracing::debug!(%error, "Looking how far the partitions are");
                None
            }
            Chore::Missing(missing) => {
                self.topics_seen(missing);
                None
            }
            Chore::Quiet(read) => self.quiet_read(read),
            Chore::OthersAnswered(Ok(()), error) => Some(self.rejoin(&error)),
            Chore::OthersAnswered(Err(away), _) => {
                if let Some(consumer) = &mut self.consumer {
                    consumer.is_not_to_blame();
                }
                self.kafka.failed(&away);
                None
            }
        }
    }

    fn positioned(
        &mut self,
        partitions: &[(TopicPartition, LaneToken)],
        found: Result<Vec<(TopicPartition, Found)>, Unfound>,
    ) -> Event {
        let mut found = match found {
            Ok(found) => {
                self.postgres.over();
                found
            }
            Err(error) => {
                if let Unfound::Db(error) = error {
                    self.postgres.failed_as(error.urgency(), &error);
                } else {
                    self.kafka.failed(&error);
                }
                Vec::new()
            }
        };
        let positions = partitions.iter().map(|(partition, token)| {
            let of = found.iter().position(|(other, _)| other == partition);
            let of = of.map(|place| found.swap_remove(place).1);
            (partition.clone(), *token, self.position(partition, of))
        });
        Event::Positioned(positions.collect())
    }

    fn position(&mut self, partition: &TopicPartition, found: Option<Found>) -> FoundPosition {
        let log = self.logs.entry(partition.clone()).or_default();
        match found {
            None => FoundPosition::Unknown,
            Some(Err(error)) => {
                log.not_found(partition, &error, &self.waits);
                FoundPosition::Unknown
            }
            Some(Ok(position)) => {
                self.metrics.skipped(position.skipped);
                let (next, epoch, stopped) = (position.next, position.epoch, position.stopped.is_some());
                log.found(position);
                if stopped { FoundPosition::Stopped } else { FoundPosition::At { next, epoch } }
            }
        }
    }

    /// Looks how far the partitions are, to tell Kafka.
    pub(super) fn report(&mut self, lanes: impl Iterator<Item = (TopicPartition, LaneId)>) {
        if !self.reporting.is_due(Instant::now()) {
            return;
        }
        let lanes: Vec<(TopicPartition, LaneId)> = lanes.collect();
        if lanes.is_empty() {
            return;
        }
        self.reporting.looks();
        let (db, group) = (self.finder.db.clone(), self.finder.group.clone());
        self.chores.push(Box::pin(async move {
            let ids: Vec<LaneId> = lanes.iter().map(|(_, lane)| *lane).collect();
            let reached = offsets::reached(&db, &group, &ids).await;
            Chore::Reached(lanes, reached)
        }));
    }

    /// Looks for subscribed topics that do not exist: Kafka's client waits for them without a word.
    pub(super) fn look_for_topics(&mut self) {
        if Instant::now() < self.topics_due {
            return;
        }
        self.topics_due = Instant::now() + TOPICS_TICK;
        // A lane that was adopted says nothing of its topic, which may have been deleted.
        let assigned = |topic: &String| self.assigned.iter().any(|of| *of.topic == **topic);
        if !self.absent && self.subscribed.iter().all(assigned) {
            self.missing.clear();
            return;
        }
        let (topics, subscribed) = (self.finder.topics.clone(), self.subscribed.clone());
        self.chores.push(Box::pin(async move { Chore::Missing(topics.missing(&subscribed).await) }));
    }

    fn topics_seen(&mut self, missing: Result<Vec<String>, KafkaError>) {
        match missing {
            Ok(missing) => {
                self.kafka.over();
                let name = &self.handler.name;
                let now = Instant::now();
                self.missing.retain(|topic, _| missing.contains(topic));
                for topic in missing {
                    let missing = self.missing.entry(topic.clone()).or_insert_with(|| Missing {
                        told: Reminder::default(),
                        _shown: self.waits.begin(
                            format!("topic {topic}, which handler {name} takes"),
                            &"it does not exist: create it",
                        ),
                    });
                    if !missing.told.is_due(now) {
                        continue;
                    }
                    tracing::warn!(
                        handler.name = %name, messaging.destination.name = %topic,
                        "Topic {topic} does not exist; handler {name} takes its messages once it is created"
                    );
                }
            }
            Err(error) => {
                self.kafka.failed(&error);
            }
        }
    }
}
