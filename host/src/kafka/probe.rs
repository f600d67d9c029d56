//! Looking at what a consumer meets in a partition, without joining a group: whether there is anything to read, and
//! where one can go on behind what cannot be read.

use std::time::{Duration, Instant};

use mailroom_core::ids::TopicPartition;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as RdKafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::error::Remedy;
use super::meaning::{Meaning, meaning};
use super::queue::{ConsumerQueue, Failure, QueueEvent};
use super::topics::{Asked, blocking};
use super::voice::Quiet;
use super::{KafkaError, client};
use crate::config;

/// Time for each look.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A record that follows damage in the same answer of the broker comes within this.
const FOLLOWS_WITHIN: Duration = Duration::from_millis(300);

const LOOKING: &str = "looking into a partition";

/// A batch or record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Offset where it begins, or where it was met.
    pub(crate) offset: i64,
    pub(crate) reason: String,
    /// The offset is that at which its batch begins, wherever in the batch it was met.
    pub(super) is_of_batch: bool,
}

impl Damage {
    pub(super) fn new(code: Code, offset: i64, reason: String) -> Self {
        let is_of_batch = matches!(code, Code::BadCompression | Code::BadMessage | Code::NotImplemented);
        Self { offset, reason, is_of_batch }
    }
}

/// Result of reading a partition: what is met first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The record at this offset.
    Record(i64),
    /// No more records are there. Markers of transactions, and records of aborted ones, have offsets and are
    /// handed to nobody.
    End,
    Damaged(Damage),
}

/// Tells what a consumer meets first at or behind an offset.
///
/// # Errors
/// Where the cluster does not tell in time.
pub(crate) async fn read_from(
    kafka: &config::Kafka,
    place: &TopicPartition,
    offset: i64,
) -> Result<Reading, KafkaError> {
    let (kafka, place) = (kafka.clone(), place.clone());
    blocking(move || Probe::new(&kafka, place)?.read(offset)).await.map_err(KafkaError::new(LOOKING))
}

/// Looks for damage at or behind the offset that comes next, and for the first offset behind it; `end` is the end of
/// the log. Gives nothing where the next record can be read.
///
/// # Errors
/// Where the cluster does not tell in time.
pub(crate) async fn behind_damage(
    kafka: &config::Kafka,
    place: &TopicPartition,
    next: i64,
    end: i64,
) -> Result<Option<(Damage, i64)>, KafkaError> {
    let (kafka, place) = (kafka.clone(), place.clone());
    blocking(move || Probe::new(&kafka, place)?.behind_damage(next, end))
        .await
        .map_err(KafkaError::new(LOOKING))
}

struct Probe {
    queue: ConsumerQueue<Quiet>,
    place: TopicPartition,
}

impl Probe {
    fn new(kafka: &config::Kafka, place: TopicPartition) -> Asked<Self> {
        let consumer: BaseConsumer<Quiet> = client::probe(kafka).create_with_context(Quiet)?;
        let queue = ConsumerQueue::of(consumer);
        let queue = queue.ok_or_else(|| RdKafkaError::ClientCreation("it has no queue".to_owned()))?;
        Ok(Self { queue, place })
    }

    /// Reads what comes first at or behind an offset.
    fn read(&mut self, offset: i64) -> Asked<Reading> {
        let mut at = TopicPartitionList::with_capacity(1);
        at.add_partition_offset(&self.place.topic, self.place.partition, Offset::Offset(offset))?;
        self.queue.consumer.assign(&at)?;
        self.next(ANSWER_WITHIN)?.ok_or(RdKafkaError::MessageConsumption(Code::OperationTimedOut))
    }

    /// Returns what comes next within a time; none where nothing came, or nothing about the partition.
    fn next(&mut self, within: Duration) -> Asked<Option<Reading>> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.queue.poll(left) {
                None => return Ok(None),
                Some(QueueEvent::Record(_, record)) => return Ok(Some(Reading::Record(record.offset))),
                Some(QueueEvent::Failed(Failure { code, reason, place: Some((_, offset)), .. })) => {
                    match (code, meaning(code)) {
                        (Code::PartitionEOF, _) => return Ok(Some(Reading::End)),
                        (_, Some(Meaning::Data)) => {
                            let reason = format!("{code}: {reason}{}", Remedy(Some(code)));
                            return Ok(Some(Reading::Damaged(Damage::new(code, offset, reason))));
                        }
                        _ => return Err(RdKafkaError::MessageConsumption(code)),
                    }
                }
                // Of the client as a whole: it goes on trying.
                Some(QueueEvent::Failed(_) | QueueEvent::Assigned(_) | QueueEvent::Revoked(_)) => {}
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    fn behind_damage(&mut self, next: i64, end: i64) -> Asked<Option<(Damage, i64)>> {
        let Reading::Damaged(damage) = self.read(next)? else { return Ok(None) };
        // A batch of an unknown format is passed over where another one follows it.
        if let Some(Reading::Record(offset)) = self.next(FOLLOWS_WITHIN)? {
            return Ok(Some((damage, offset)));
        }
        let is_in = |offset| self.read(offset).map(|reading| is_same(&reading, &damage, offset));
        let to = first_behind(next, end, is_in)?;
        Ok(Some((damage, to)))
    }
}

/// Tells whether reading at `offset` meets the same damage. Damage that is not told of a batch is told at the offset that
/// was asked for, wherever that is in it.
fn is_same(reading: &Reading, damage: &Damage, offset: i64) -> bool {
    matches!(reading, Reading::Damaged(met) if met.offset == damage.offset || !met.is_of_batch && met.offset == offset)
}

/// The first offset behind `from` that is not in what `from` is in; `end` is in nothing.
fn first_behind<E>(from: i64, end: i64, mut is_in: impl FnMut(i64) -> Result<bool, E>) -> Result<i64, E> {
    let (mut inside, mut step) = (from, 1);
    let mut outside = loop {
        let ahead = inside.saturating_add(step);
        if ahead >= end || !is_in(ahead)? {
            break ahead.min(end);
        }
        (inside, step) = (ahead, step.saturating_mul(2));
    };
    while outside - inside > 1 {
        let middle = inside + (outside - inside) / 2;
        if is_in(middle)? {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    Ok(outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(from: i64, end: i64, last_inside: i64) -> (i64, usize) {
        let mut looks = 0;
        let first = first_behind::<()>(from, end, |offset| {
            looks += 1;
            assert!(offset > from && offset < end, "{offset} is looked at between {from} and {end}");
            Ok(offset <= last_inside)
        });
        (first.unwrap(), looks)
    }

    #[test]
    fn the_first_offset_behind_damage_is_found_in_few_looks() {
        for last_inside in 50..=200 {
            let (first, looks) = found(50, 201, last_inside);
            assert_eq!(first, last_inside + 1);
            assert!(looks <= 16, "{looks} looks up to {last_inside}");
        }
        assert_eq!(found(0, 1, 0), (1, 0), "nothing is asked where only the end is left");
        assert_eq!(found(10, i64::MAX, 1_000_000).0, 1_000_001);
    }

    #[test]
    fn a_look_that_fails_fails_the_search() {
        assert_eq!(first_behind(0, 100, |offset| if offset < 4 { Ok(true) } else { Err(offset) }), Err(7));
    }

    #[test]
    fn damage_of_another_batch_is_not_the_same() {
        let of_batch = |offset| Damage::new(Code::BadCompression, offset, String::new());
        let damaged = |offset| Reading::Damaged(of_batch(offset));
        assert!(is_same(&damaged(50), &of_batch(50), 70));
        assert!(!is_same(&damaged(70), &of_batch(50), 70) && !is_same(&damaged(100), &of_batch(50), 120));
        assert!(!is_same(&Reading::Record(71), &of_batch(50), 70));
        assert!(!is_same(&Reading::End, &of_batch(50), 70));
        let anywhere = |offset| Damage::new(Code::MessageSizeTooLarge, offset, String::new());
        assert!(is_same(&Reading::Damaged(anywhere(70)), &anywhere(50), 70));
    }
}
