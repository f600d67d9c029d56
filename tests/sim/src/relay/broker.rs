//! A model of Kafka's brokers: topics that come, go and refuse, logs, and what they know of idempotent producers.

use std::collections::BTreeMap;

use mailroom_core::relay::RefusalMeaning;

/// A partition of a topic, by their numbers.
pub(crate) type Place = (usize, usize);

/// A record as the broker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) bytes: usize,
    pub(crate) timestamp: bool,
    pub(crate) poison: bool,
}

/// Records that a producer sends at once to a partition.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) pid: u64,
    pub(crate) place: Place,
    /// The number of its first record in all that the producer sends there.
    pub(crate) sequence: u64,
    /// Incarnation of the topic of this name that it is for.
    pub(crate) incarnation: u32,
    pub(crate) records: Vec<Record>,
}

/// Answer of a broker to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Taken: the first record has this offset.
    At(i64),
    Refused(RefusalMeaning),
    /// Retry in a moment.
    Retry,
}

/// Sequence numbers that a partition remembers of a producer.
#[derive(Debug, Clone, Default)]
struct Numbers {
    next: u64,
    offsets: BTreeMap<u64, i64>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Topic {
    pub(crate) missing: bool,
    pub(crate) leaderless: bool,
    /// Rises when it is deleted.
    pub(crate) incarnation: u32,
    /// The largest batch, if bounded.
    pub(crate) bytes_max: Option<usize>,
    pub(crate) refuses_times: bool,
    ends: BTreeMap<usize, i64>,
    producers: BTreeMap<(u64, usize), Numbers>,
}

/// All topics.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kafka {
    pub(crate) topics: Vec<Topic>,
}

impl Topic {
    /// Deletes the topic with its logs; another of its name may come.
    pub(crate) fn delete(&mut self) {
        self.missing = true;
        self.incarnation += 1;
        self.ends.clear();
        self.producers.clear();
    }

    /// Takes a batch, or refuses it.
    fn serve(&mut self, batch: &Batch) -> Answer {
        if self.leaderless {
            return Answer::Retry;
        }
        if self.missing || self.incarnation != batch.incarnation {
            return Answer::Refused(RefusalMeaning::Topic);
        }
        let known = self.producers.entry((batch.pid, batch.place.1)).or_default();
        if let Some(offset) = known.offsets.get(&batch.sequence) {
            return Answer::At(*offset);
        }
        if batch.sequence != known.next {
            // What came before it was not taken.
            return Answer::Refused(RefusalMeaning::Producer);
        }
        let bytes: usize = batch.records.iter().map(|record| record.bytes).sum();
        if self.bytes_max.is_some_and(|max| bytes > max) || batch.records.iter().any(|record| record.poison) {
            return Answer::Refused(RefusalMeaning::Record);
        }
        if self.refuses_times && batch.records.iter().any(|record| record.timestamp) {
            return Answer::Refused(RefusalMeaning::Timestamp);
        }
        let end = self.ends.entry(batch.place.1).or_default();
        let offset = *end;
        known.offsets.insert(batch.sequence, offset);
        for _ in &batch.records {
            *end += 1;
            known.next += 1;
        }
        Answer::At(offset)
    }
}

impl Kafka {
    /// Serves a batch; gives the answer, and whether its records are on the log now that were not before.
    pub(crate) fn serve(&mut self, batch: &Batch) -> (Answer, bool) {
        let Some(topic) = self.topics.get_mut(batch.place.0) else { return (Answer::Retry, false) };
        let end = |topic: &Topic| topic.ends.get(&batch.place.1).copied().unwrap_or(0);
        let before = end(topic);
        let answer = topic.serve(batch);
        (answer, end(topic) > before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(sequence: u64, bytes: usize) -> Batch {
        let record = Record { id: 1, bytes, timestamp: true, poison: false };
        Batch { pid: 1, place: (0, 0), sequence, incarnation: 0, records: vec![record] }
    }

    #[test]
    fn a_batch_that_is_sent_again_is_taken_once_and_none_is_taken_behind_a_gap() {
        let mut kafka = Kafka { topics: vec![Topic::default()] };
        assert_eq!(kafka.serve(&batch(0, 10)), (Answer::At(0), true));
        assert_eq!(kafka.serve(&batch(0, 10)), (Answer::At(0), false));
        assert_eq!(kafka.serve(&batch(2, 10)), (Answer::Refused(RefusalMeaning::Producer), false));
        kafka.topics[0].bytes_max = Some(9);
        assert_eq!(kafka.serve(&batch(1, 10)), (Answer::Refused(RefusalMeaning::Record), false));
        kafka.topics[0].delete();
        assert_eq!(kafka.serve(&batch(1, 1)), (Answer::Refused(RefusalMeaning::Topic), false));
    }
}
