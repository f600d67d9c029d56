//! A consumer's queue, read through librdkafka's C interface.
#![expect(
    unsafe_code,
    reason = "rdkafka tells of an error neither its topic nor its partition nor its offset"
)]

use std::collections::HashMap;
use std::ffi::{CStr, c_char};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mailroom_core::ids::TopicPartition;
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::{native, voice};
use crate::message::Record;

/// Event in a consumer's queue.
#[derive(Debug)]
pub(super) enum QueueEvent {
    Record(Arc<str>, Record),
    /// Partitions that Kafka gives to this consumer; to be answered.
    Assigned(Vec<TopicPartition>),
    /// Partitions that Kafka takes from it; to be answered.
    Revoked(Vec<TopicPartition>),
    Failed(Failure),
}

/// An error of a consumer.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) reason: String,
    /// The partition that it is of, and its offset, which is negative where there is none.
    pub(super) place: Option<(TopicPartition, i64)>,
    /// The client can do nothing more.
    pub(super) is_fatal: bool,
}

/// A consumer with its queue.
pub(super) struct ConsumerQueue<C: ConsumerContext + 'static> {
    // Dropped before the client that it belongs to.
    queue: Queue,
    pub(super) consumer: BaseConsumer<C>,
    /// Names that were met, so that records share them.
    topics: HashMap<Box<[u8]>, Arc<str>>,
    /// Nothing unless the client is set to tell.
    pub(super) counts: Counts,
}

/// Numbers of which a client tells now and then, with `statistics.interval.ms`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Times that it told.
    pub(super) told: u64,
    /// Batches in brokers' answers that could not be read, among them those that an answer cut off.
    pub(super) unread: u64,
}

impl Counts {
    /// Takes librdkafka's statistics, which are JSON, with a number for each broker.
    fn take(&mut self, statistics: &str) {
        let numbers = statistics.split("\"rxpartial\":").skip(1).map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest.get(..end).and_then(|number| number.parse::<u64>().ok()).unwrap_or_default()
        });
        *self = Self { told: self.told + 1, unread: numbers.sum() };
    }
}

struct Queue(NonNull<c::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues have locks of their own.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and given back once.
        unsafe { c::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

/// An event that was taken out of a queue.
struct Taken(NonNull<c::rd_kafka_event_t>);

impl Drop for Taken {
    fn drop(&mut self) {
        // SAFETY: the event is ours, and destroyed once.
        unsafe { c::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}

impl<C: ConsumerContext + 'static> ConsumerQueue<C> {
    /// Takes the consumer over; gives nothing where it has no group, and so no queue.
    pub(super) fn of(consumer: BaseConsumer<C>) -> Option<Self> {
        // SAFETY: the client is alive.
        let queue = unsafe { c::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        let queue = Queue(NonNull::new(queue)?);
        Some(Self { queue, consumer, topics: HashMap::new(), counts: Counts::default() })
    }

    /// Takes the next event, which is waited for no longer than this.
    pub(super) fn poll(&mut self, timeout: Duration) -> Option<QueueEvent> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
            // SAFETY: the queue is alive; the event that is given out is ours.
            let event = unsafe { c::rd_kafka_queue_poll(self.queue.0.as_ptr(), timeout_ms) };
            if let Some(event) = self.event(&Taken(NonNull::new(event)?)) {
                return Some(event);
            }
        }
    }

    /// Gives nothing for what only the log is told, or nobody.
    fn event(&mut self, taken: &Taken) -> Option<QueueEvent> {
        let event = taken.0.as_ptr();
        // SAFETY: the event is alive; what is given out belongs to it, and is copied.
        unsafe {
            match c::rd_kafka_event_type(event) {
                c::RD_KAFKA_EVENT_FETCH => {
                    let message = c::rd_kafka_event_message_next(event).as_ref()?;
                    let (topic, record) = (self.topic(message), native::record(message));
                    Some(QueueEvent::Record(topic, record))
                }
                c::RD_KAFKA_EVENT_ERROR => failure(event).map(QueueEvent::Failed),
                c::RD_KAFKA_EVENT_REBALANCE => {
                    let places = places(c::rd_kafka_event_topic_partition_list(event));
                    let assigned = Code::from(c::rd_kafka_event_error(event)) == Code::AssignPartitions;
                    Some(if assigned { QueueEvent::Assigned(places) } else { QueueEvent::Revoked(places) })
                }
                c::RD_KAFKA_EVENT_LOG => {
                    log(event);
                    None
                }
                c::RD_KAFKA_EVENT_STATS => {
                    self.counts.take(&text(c::rd_kafka_event_stats(event)));
                    None
                }
                _ => None,
            }
        }
    }

    fn topic(&mut self, message: &c::rd_kafka_message_t) -> Arc<str> {
        // SAFETY: the topic and its name live as long as the message.
        let name = unsafe { CStr::from_ptr(c::rd_kafka_topic_name(message.rkt)) }.to_bytes();
        if let Some(known) = self.topics.get(name) {
            return Arc::clone(known);
        }
        let topic: Arc<str> = Arc::from(String::from_utf8_lossy(name));
        self.topics.insert(name.into(), Arc::clone(&topic));
        topic
    }
}

/// # Safety
/// `event` is of an error, and alive.
unsafe fn failure(event: *mut c::rd_kafka_event_t) -> Option<Failure> {
    // SAFETY: what is given out belongs to the event and is copied, but for the place, which is ours to destroy.
    unsafe {
        let code = Code::from(c::rd_kafka_event_error(event));
        if code == Code::NoError {
            return None;
        }
        let place = c::rd_kafka_event_topic_partition(event);
        let found = place.as_ref().map(|place| (element(place), place.offset));
        if !place.is_null() {
            c::rd_kafka_topic_partition_destroy(place);
        }
        let reason = text(c::rd_kafka_event_error_string(event));
        Some(Failure { code, reason, place: found, is_fatal: c::rd_kafka_event_error_is_fatal(event) != 0 })
    }
}

/// # Safety
/// `list` is null or alive.
unsafe fn places(list: *const c::rd_kafka_topic_partition_list_t) -> Vec<TopicPartition> {
    // SAFETY: a list has as many elements as it says.
    unsafe {
        let Some(list) = list.as_ref() else { return Vec::new() };
        let count = usize::try_from(list.cnt).unwrap_or(0);
        if list.elems.is_null() || count == 0 {
            return Vec::new();
        }
        slice::from_raw_parts(list.elems, count).iter().map(|place| element(place)).collect()
    }
}

/// # Safety
/// The element is one of librdkafka's own.
unsafe fn element(place: &c::rd_kafka_topic_partition_t) -> TopicPartition {
    // SAFETY: an element has a name, which is copied.
    TopicPartition { topic: Arc::from(unsafe { text(place.topic) }), partition: place.partition }
}

/// # Safety
/// `event` is a line of librdkafka's log, and alive.
unsafe fn log(event: *mut c::rd_kafka_event_t) {
    let (mut facility, mut line, mut level) = (std::ptr::null(), std::ptr::null(), 0);
    // SAFETY: what is given out belongs to the event, and is copied.
    unsafe {
        if c::rd_kafka_event_log(event, &raw mut facility, &raw mut line, &raw mut level) == 0 {
            voice::log(level, text(facility).trim(), text(line).trim());
        }
    }
}

/// # Safety
/// `text` is null or ends with a zero.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_is_counted_over_all_brokers() {
        let mut counts = Counts::default();
        counts.take(r#"{"brokers":{"a":{"rxpartial":12, "rxidle":1}, "b":{"rxpartial":30}}, "rx":9}"#);
        assert_eq!(counts, Counts { told: 1, unread: 42 });
        counts.take("{}");
        assert_eq!(counts, Counts { told: 2, unread: 0 });
    }
}
