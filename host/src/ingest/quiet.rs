//! Partitions of which nothing comes though their logs go on. Of some damage, such as a length of a record that is
//! wrong, librdkafka says nothing: it asks for the same batch again and again. So a partition that has been quiet for
//! long is read from by a consumer of its own, and is damaged where answers come again and again that cannot be read.

use std::time::Duration;

use futures_util::future::join_all;
use mailroom_core::ids::TopicPartition;
use tokio::time::Instant;

use super::chores::Chore;
use super::{Event, Ingest};
use crate::config;
use crate::kafka::{KafkaError, Reading, Spot, Topics, read_from};

/// Interval of the looks for partitions that are quiet.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A partition that gave nothing for so long is quiet.
const QUIET_AFTER: Duration = Duration::from_secs(10);
/// One that could be read each time waits longer and longer, up to this: it may only wait for its turn.
const QUIET_AFTER_MAX: Duration = Duration::from_mins(5);
/// Partitions that are read from at once.
const READS_MAX: usize = 4;

/// Silence of a partition that is fetched.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    since: Option<Instant>,
    /// Reads that met nothing wrong since something came.
    fine: u32,
    is_paused: bool,
}

impl Quiet {
    /// Makes that of a partition which is fetched from now on.
    pub(super) fn of_fetched() -> Self {
        Self { since: Some(Instant::now()), ..Self::default() }
    }

    /// Something came.
    pub(super) fn ends(&mut self) {
        *self = Self { since: Some(Instant::now()), fine: 0, is_paused: self.is_paused };
    }

    /// Notes that it is fetched no longer, or again.
    pub(super) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
        self.since = Some(Instant::now());
    }

    fn lasts_too_long(&self, now: Instant) -> bool {
        let patience = QUIET_AFTER.saturating_mul(1 << self.fine.min(10)).min(QUIET_AFTER_MAX);
        !self.is_paused && self.since.is_some_and(|since| now.duration_since(since) >= patience)
    }
}

/// A partition that was quiet, and what reading from where it stands met.
pub(crate) struct ReadFrom {
    partition: TopicPartition,
    next: i64,
    end: i64,
    met: Result<Reading, KafkaError>,
}

impl Ingest {
    /// Reads from partitions that have been quiet for a while, beside the consumer.
    pub(super) fn look_at_quiet(&mut self) {
        let now = Instant::now();
        if !self.polls {
            // Nothing is taken from the consumer: that says nothing of partitions.
            self.logs.values_mut().for_each(|log| log.quiet.since = Some(now));
            return;
        }
        if self.reads_quiet || now < self.quiet_due {
            return;
        }
        self.quiet_due = now + LOOK_EVERY;
        let mut quiet = Vec::new();
        for (partition, log) in &mut self.logs {
            let found = log.found.as_ref().filter(|found| found.stopped.is_none());
            if let Some(found) = found.filter(|_| log.quiet.lasts_too_long(now)) {
                log.quiet.since = Some(now);
                quiet.push((partition.clone(), found.next));
            }
        }
        if quiet.is_empty() {
            return;
        }
        self.reads_quiet = true;
        let (kafka, topics) = (self.config.kafka.clone(), self.finder.topics.clone());
        self.chores.push(Box::pin(async move { Chore::Quiet(read(kafka, topics, quiet).await) }));
    }

    /// Takes what was met in quiet partitions; those that cannot be read are found anew, where the gap policy applies.
    pub(super) fn quiet_read(&mut self, read: Vec<ReadFrom>) -> Option<Event> {
        self.reads_quiet = false;
        let mut damaged = Vec::new();
        for ReadFrom { partition, next, end, met } in read {
            let Some(log) = self.logs.get_mut(&partition) else { continue };
            if log.found.as_ref().is_none_or(|found| found.next != next) {
                continue;
            }
            match met {
                Ok(Reading::Damaged(damage)) => damaged.extend(self.damaged(partition, damage)),
                Ok(Reading::Record(_) | Reading::End) => log.quiet.fine += 1,
                Err(error) => {
                    let why = format!("nothing comes of its offsets {next} to {}: {error}", end - 1);
                    log.is_sick(&partition, &why, &self.waits);
                }
            }
        }
        (!damaged.is_empty()).then_some(Event::Displaced(damaged))
    }
}

/// Reads from those of the partitions whose logs go on behind what comes next.
async fn read(kafka: config::Kafka, topics: Topics, quiet: Vec<(TopicPartition, i64)>) -> Vec<ReadFrom> {
    let mut unread = Vec::new();
    for of_topic in quiet.chunk_by(|(one, _), (other, _)| one.topic == other.topic) {
        let Some((TopicPartition { topic, .. }, _)) = of_topic.first() else { continue };
        let numbers: Vec<i32> = of_topic.iter().map(|(partition, _)| partition.partition).collect();
        match topics.offsets(topic, &numbers, Spot::End).await {
            Ok(ends) => unread.extend(of_topic.iter().filter_map(|(partition, next)| {
                let (_, end) = ends.iter().find(|(number, _)| *number == partition.partition)?;
                (end > next).then(|| (partition.clone(), *next, *end))
            })),
            // Whoever asks for more of it says that.
            Err(error) => tracing::debug!(%error, "Looking where {topic} ends"),
        }
    }
    // The others have their turn in the next looks.
    unread.truncate(READS_MAX);
    let read = unread.into_iter().map(async |(partition, next, end)| {
        let met = read_from(&kafka, &partition, next).await;
        ReadFrom { partition, next, end, met }
    });
    join_all(read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_quiet_after_a_while_and_later_where_it_could_be_read() {
        let (mut quiet, now) = (Quiet::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(!quiet.lasts_too_long(after(1000)), "it was not fetched yet");
        quiet.ends();
        quiet.since = Some(now);
        assert!(!quiet.lasts_too_long(after(9)) && quiet.lasts_too_long(after(10)));
        quiet.fine = 2;
        assert!(!quiet.lasts_too_long(after(39)) && quiet.lasts_too_long(after(40)));
        quiet.fine = u32::MAX;
        assert!(quiet.lasts_too_long(now + QUIET_AFTER_MAX));
        quiet.pause(true);
        assert!(!quiet.lasts_too_long(after(100_000)), "nothing can come");
        quiet.pause(false);
        quiet.ends();
        assert_eq!((quiet.fine, quiet.is_paused), (0, false));
    }
}
