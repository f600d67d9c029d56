//! Instruments of the records that the relay sends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mailroom_core::relay::{Refusal, RefusalMeaning, Ticket};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram};
use tokio::time::Instant;

use super::bound::Bound;
use super::{Metrics, TOPIC};

/// Records in flight above which those are forgotten whose answers must have been lost.
const IN_FLIGHT_MAX: usize = 250_000;
/// No answer takes longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(600);

/// A record that was handed over.
#[derive(Debug)]
struct Sent {
    topic: Arc<str>,
    at: Instant,
    /// Age of the message when it was sent.
    age: Duration,
}

/// The instruments of one topic and of how sends to it end.
#[derive(Debug, Clone)]
struct Sends {
    duration: BoundHistogram<f64>,
    count: BoundCounter<u64>,
}

/// The instruments of a relay, and what it has in flight.
#[derive(Debug)]
pub(crate) struct RelayMetrics {
    metrics: Metrics,
    in_flight: HashMap<Ticket, Sent>,
    sends: Bound<(Arc<str>, Option<&'static str>), Sends>,
    latencies: Bound<Arc<str>, BoundHistogram<f64>>,
}

impl Metrics {
    /// Binds the instruments of a relay.
    pub(crate) fn of_relay(&self) -> RelayMetrics {
        RelayMetrics {
            metrics: self.clone(),
            in_flight: HashMap::new(),
            sends: Bound::default(),
            latencies: Bound::default(),
        }
    }
}

impl RelayMetrics {
    /// Notes that a record of this age is handed over.
    pub(crate) fn sends(&mut self, ticket: Ticket, topic: &Arc<str>, age: Duration) {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            self.in_flight.retain(|_, sent| sent.at.elapsed() < ANSWERED_WITHIN);
        }
        self.in_flight.insert(ticket, Sent { topic: Arc::clone(topic), at: Instant::now(), age });
    }

    /// Forgets a record that was never handed over.
    pub(crate) fn withdrawn(&mut self, ticket: Ticket) {
        self.in_flight.remove(&ticket);
    }

    /// Records what came of a record.
    pub(crate) fn answered<P>(&mut self, ticket: Ticket, result: &Result<P, Refusal>) {
        let Some(Sent { topic, at, age }) = self.in_flight.remove(&ticket) else { return };
        let took = at.elapsed();
        let instruments = &self.metrics.0;
        let error = result.as_ref().err().map(|refusal| error_type(refusal.meaning));
        let attributes = || {
            let mut attributes = vec![
                KeyValue::new("messaging.system", "kafka"),
                KeyValue::new("messaging.operation.name", "send"),
                KeyValue::new("messaging.operation.type", "send"),
                KeyValue::new(TOPIC, Arc::clone(&topic)),
            ];
            attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
            attributes
        };
        let bind = || Sends {
            duration: instruments.operation_duration.bind(&attributes()),
            count: instruments.sent.bind(&attributes()),
        };
        let sends = self.sends.of((Arc::clone(&topic), error), bind);
        sends.duration.record(took.as_secs_f64());
        sends.count.add(1);
        if error.is_none() {
            let bind = || instruments.publish_latency.bind(&[KeyValue::new(TOPIC, Arc::clone(&topic))]);
            self.latencies.of(Arc::clone(&topic), bind).record((age + took).as_secs_f64());
        }
    }
}

fn error_type(meaning: RefusalMeaning) -> &'static str {
    match meaning {
        RefusalMeaning::Record => "record",
        RefusalMeaning::Timestamp => "timestamp",
        RefusalMeaning::Topic => "topic",
        RefusalMeaning::Partition => "partition",
        RefusalMeaning::Producer => "producer",
    }
}
