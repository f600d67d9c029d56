//! A model of Kafka: logs, a consumer group that hands partitions about, and a consumer in each host.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use mailroom_core::handler_machine::event::{Polled, PolledRecord};
use mailroom_core::ids::TopicPartition;
use mailroom_core::message::Message;
use uuid::Uuid;

use crate::guest::{REFUSED_PAYLOAD, REFUSED_TYPE, Script};

/// Messages are told apart by their ids; two records with one id are a producer's duplicate.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) key: Option<u32>,
    pub(crate) message_id: String,
    /// True if a subscription takes it.
    pub(crate) matched: bool,
    pub(crate) unfit: bool,
    /// Refusal by the database: `Some(true)` even where it is stored without its content.
    pub(crate) refusal: Option<bool>,
}

/// A partition's log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    /// The first offset that retention left.
    pub(crate) low: i64,
    records: Vec<Record>,
}

/// The cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kafka {
    pub(crate) logs: BTreeMap<TopicPartition, Log>,
    /// The host to which the group's coordinator gave each partition.
    pub(crate) owners: BTreeMap<TopicPartition, usize>,
    pub(crate) scripts: BTreeMap<String, Script>,
}

/// News of a consumer for its host.
#[derive(Debug, Clone, Hash)]
pub(crate) enum Told {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    Polled(Vec<Polled>),
    Displaced(Vec<TopicPartition>),
}

/// Position at which a consumer reads a partition.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Fetch {
    pub(crate) at: i64,
    pub(crate) paused: bool,
}

/// The consumer of a host.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Consumer {
    pub(crate) fetches: BTreeMap<TopicPartition, Fetch>,
    pub(crate) told: VecDeque<Told>,
}

impl Log {
    /// One with so many records that nobody looks at.
    pub(crate) fn filled(length: usize) -> Self {
        let record =
            Record { key: None, message_id: String::new(), matched: false, unfit: false, refusal: None };
        Self { low: 0, records: vec![record; length] }
    }

    /// The offset of the next record.
    pub(crate) fn high(&self) -> i64 {
        i64::try_from(self.records.len()).unwrap_or(i64::MAX)
    }

    pub(crate) fn append(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Records with their offsets, from one on.
    pub(crate) fn from(&self, offset: i64) -> impl Iterator<Item = (i64, &Record)> {
        (0..).zip(&self.records).skip(usize::try_from(offset).unwrap_or(0))
    }
}

impl Consumer {
    /// Drops what was fetched before, as whoever executes `Assign` or `Unassign` hands over nothing of it.
    fn forget(&mut self, partition: &TopicPartition) {
        for told in &mut self.told {
            if let Told::Polled(polled) = told {
                polled.retain(|polled| polled.partition != *partition);
            }
        }
        self.told.retain(|told| !matches!(told, Told::Polled(polled) if polled.is_empty()));
    }

    pub(crate) fn assign(&mut self, partition: &TopicPartition, at: i64) {
        self.forget(partition);
        self.fetches.insert(partition.clone(), Fetch { at, paused: false });
    }

    pub(crate) fn unassign(&mut self, partition: &TopicPartition) {
        self.forget(partition);
        self.fetches.remove(partition);
    }

    pub(crate) fn pause(&mut self, partition: &TopicPartition, paused: bool) {
        if let Some(fetch) = self.fetches.get_mut(partition) {
            fetch.paused = paused;
        }
    }

    /// Fetches up to so many records of each partition that is not paused.
    pub(crate) fn poll(&mut self, kafka: &Kafka, records_max: usize) -> bool {
        let mut polled = Vec::new();
        for (partition, fetch) in self.fetches.iter_mut().filter(|(_, fetch)| !fetch.paused) {
            let Some(log) = kafka.logs.get(partition) else { continue };
            let mut records = Vec::new();
            let before = fetch.at;
            for (offset, record) in log.from(fetch.at.max(log.low)).take(records_max) {
                fetch.at = offset + 1;
                if record.matched {
                    records.push(as_polled(partition, offset, record));
                }
            }
            if fetch.at > before {
                polled.push(Polled { partition: partition.clone(), to: fetch.at, records });
            }
        }
        let any = !polled.is_empty();
        if any {
            self.told.push_back(Told::Polled(polled));
        }
        any
    }

    /// Tells whether a poll would bring something.
    pub(crate) fn can_poll(&self, kafka: &Kafka) -> bool {
        self.told.len() < 4
            && self.fetches.iter().any(|(partition, fetch)| {
                !fetch.paused && kafka.logs.get(partition).is_some_and(|log| fetch.at < log.high())
            })
    }
}

/// The key of a record as the order of its lane: small numbers, for people.
pub(crate) fn order_key(partition: &TopicPartition, key: Option<u32>) -> Option<i64> {
    let topic = i64::from(*partition.topic != *"a");
    key.map(|key| topic * 1000 + i64::from(partition.partition) * 100 + i64::from(key))
}

pub(crate) fn as_polled(partition: &TopicPartition, offset: i64, record: &Record) -> PolledRecord {
    let unfit = record.unfit.then(|| Arc::from("unfit"));
    let payload = (record.refusal == Some(false)).then(|| REFUSED_PAYLOAD.to_vec());
    let event_type = if record.refusal == Some(true) { REFUSED_TYPE } else { "" };
    let message = Message {
        seq: 0,
        lane: 0,
        okey: order_key(partition, record.key),
        id: Uuid::nil(),
        message_id: record.message_id.clone(),
        consumer_group: "g".into(),
        topic: Arc::clone(&partition.topic),
        partition: partition.partition,
        offset,
        source: String::new(),
        event_type: event_type.to_owned(),
        schema_version: None,
        key: record.key.map(|key| vec![u8::try_from(key).unwrap_or(0)]),
        payload,
        content_type: None,
        headers: Vec::new(),
        produced_at_ms: 0,
        trace_id: None,
        traceparent: None,
        correlation_id: None,
        causation_id: None,
        idempotency_key: None,
        attempts_made: 0,
        attempts_max: 3,
        deliveries: 0,
        crashes: 0,
        begun: false,
    };
    PolledRecord { message, unfit }
}
