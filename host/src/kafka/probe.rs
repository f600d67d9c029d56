//! Looking at what a consumer meets in a partition, without joining a group: whether there is anything to read, and
//! where one can go on behind what cannot be read.
//!
//! Damage is a gap. librdkafka itself passes over a batch of an unknown format, so nothing of the partition is taken
//! from the report of damage on until its position is found anew: a consumer of its own meets the damage here again,
//! and looks for the first offset that is not in the same batch.

use std::time::{Duration, Instant};

use mailroom_core::ids::TopicPartition;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as RdKafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

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
/// Nothing that can be read has come for so long where it is said that nothing can be read.
const UNREADABLE_AFTER: Duration = Duration::from_secs(1);
/// Answers of the broker meanwhile that could not be read. One is often cut off at its end, and has whole batches then.
const UNREAD_MIN: u64 = 3;
/// Interval of looks at what the client counts.
const COUNTED_EVERY: Duration = Duration::from_millis(100);

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

    /// Makes that of bytes in which librdkafka finds no record, and of which it says nothing.
    fn silent(offset: i64) -> Self {
        let reason = "no record is found in what the broker sends, as where a length in a batch is wrong";
        Self { offset, reason: reason.to_owned(), is_of_batch: false }
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

/// Outcome of waiting for a client within a time.
enum Given {
    Reading(Reading),
    /// Nothing, though the broker sent something again and again.
    Unreadable,
    /// Nothing, or nothing about the partition.
    Nothing,
}

struct Probe {
    kafka: config::Kafka,
    place: TopicPartition,
    client: Client,
    /// Reads what is not committed too, once that was wanted.
    uncommitted: Option<Client>,
}

impl Probe {
    fn new(kafka: &config::Kafka, place: TopicPartition) -> Asked<Self> {
        let client = Client::new(&client::probe(kafka))?;
        Ok(Self { kafka: kafka.clone(), place, client, uncommitted: None })
    }

    /// Reads what comes first at or behind an offset.
    fn read(&mut self, offset: i64) -> Asked<Reading> {
        self.client.assign(&self.place, offset)?;
        match self.client.next(ANSWER_WITHIN)? {
            Given::Reading(reading) => Ok(reading),
            Given::Unreadable if self.is_unreadable(offset)? => Ok(Reading::Damaged(Damage::silent(offset))),
            Given::Unreadable | Given::Nothing => {
                Err(RdKafkaError::MessageConsumption(Code::OperationTimedOut))
            }
        }
    }

    /// Tells whether it is not the records of aborted transactions that are passed over without a word.
    fn is_unreadable(&mut self, offset: i64) -> Asked<bool> {
        let client = match &mut self.uncommitted {
            Some(client) => client,
            none @ None => none.insert(Client::new(&client::uncommitted_probe(&self.kafka))?),
        };
        client.assign(&self.place, offset)?;
        Ok(matches!(client.next(ANSWER_WITHIN)?, Given::Unreadable))
    }

    fn behind_damage(&mut self, next: i64, end: i64) -> Asked<Option<(Damage, i64)>> {
        let Reading::Damaged(damage) = self.read(next)? else { return Ok(None) };
        // A batch of an unknown format is passed over where another one follows it.
        if let Given::Reading(Reading::Record(offset)) = self.client.next(FOLLOWS_WITHIN)? {
            return Ok(Some((damage, offset)));
        }
        let is_in = |offset| self.read(offset).map(|reading| is_same(&reading, &damage, offset));
        let to = first_behind(next, end, is_in)?;
        Ok(Some((damage, to)))
    }
}

struct Client {
    queue: ConsumerQueue<Quiet>,
}

impl Client {
    fn new(settings: &ClientConfig) -> Asked<Self> {
        let consumer: BaseConsumer<Quiet> = settings.create_with_context(Quiet)?;
        let queue = ConsumerQueue::of(consumer);
        let queue = queue.ok_or_else(|| RdKafkaError::ClientCreation("it has no queue".to_owned()))?;
        Ok(Self { queue })
    }

    fn assign(&self, place: &TopicPartition, offset: i64) -> Asked<()> {
        let mut at = TopicPartitionList::with_capacity(1);
        at.add_partition_offset(&place.topic, place.partition, Offset::Offset(offset))?;
        self.queue.consumer.assign(&at)
    }

    /// Takes what comes next within a time.
    fn next(&mut self, within: Duration) -> Asked<Given> {
        let (began, told, mut unread) = (Instant::now(), self.queue.counts.told, None);
        loop {
            let left = within.saturating_sub(began.elapsed());
            match self.queue.poll(left.min(COUNTED_EVERY)) {
                None => {}
                Some(QueueEvent::Record(_, record)) => {
                    return Ok(Given::Reading(Reading::Record(record.offset)));
                }
                Some(QueueEvent::Failed(Failure { code, reason, place: Some((_, offset)), .. })) => {
                    match (code, meaning(code)) {
                        (Code::PartitionEOF, _) => return Ok(Given::Reading(Reading::End)),
                        (_, Some(Meaning::Data)) => {
                            let reason = format!("{code}: {reason}{}", Remedy(Some(code)));
                            let damage = Damage::new(code, offset, reason);
                            return Ok(Given::Reading(Reading::Damaged(damage)));
                        }
                        _ => return Err(RdKafkaError::MessageConsumption(code)),
                    }
                }
                // Of the client as a whole: it goes on trying.
                Some(QueueEvent::Failed(_) | QueueEvent::Assigned(_) | QueueEvent::Revoked(_)) => {}
            }
            let counts = self.queue.counts;
            // What was counted first may be of the offset that was read from before.
            if counts.told >= told + 2 {
                let before = *unread.get_or_insert(counts.unread);
                if counts.unread >= before + UNREAD_MIN && began.elapsed() >= UNREADABLE_AFTER {
                    return Ok(Given::Unreadable);
                }
            }
            if left.is_zero() {
                return Ok(Given::Nothing);
            }
        }
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
