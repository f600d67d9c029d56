//! Measurements of this process, by OpenTelemetry's instruments; `/metrics` gives them as Prometheus' text.
//!
//! Invariants: an instrument is declared in `definitions` and nowhere else. No attribute is an id or a key. What is
//! recorded of each message goes to an instrument that was bound to its attributes before: an atomic add, or a lock for
//! which only a reader contends. A reader asks no server: what only Postgres or Kafka know is looked at by `backlog`.

mod at_work;
pub(crate) mod backlog;
mod bound;
mod calls;
mod definitions;
mod ingest;
mod sends;
mod settlements;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider as _};
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use crate::config::WorkerName;
use crate::db::Db;
use crate::server_health::ServerHealth;
use at_work::AtWork;
pub(crate) use calls::{CallEnd, HandlerMetrics};
pub(crate) use ingest::IngestMetrics;
pub(crate) use sends::RelayMetrics;
pub(crate) use settlements::SettleMetrics;

const HANDLER: Key = Key::from_static_str("handler.name");
const GROUP: Key = Key::from_static_str("messaging.consumer.group.name");
const TOPIC: Key = Key::from_static_str("messaging.destination.name");
const STATE: Key = Key::from_static_str("state");

/// The instruments of a process.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Instruments>);

struct Instruments {
    registry: Registry,
    meter: Meter,
    operation_duration: Histogram<f64>,
    sent: Counter<u64>,
    consumed: Counter<u64>,
    process_duration: Histogram<f64>,
    publish_latency: Histogram<f64>,
    handler_duration: Histogram<f64>,
    handler_fuel: Histogram<f64>,
    handler_memory: Histogram<f64>,
    handler_faults: Counter<u64>,
    unmatched: Counter<u64>,
    quarantined: Counter<u64>,
    duplicates: Counter<u64>,
    skipped: Counter<u64>,
    settle_batch: Histogram<f64>,
    at_work: Arc<AtWork>,
    outbox_lanes: Arc<AtomicUsize>,
    /// Readers read through it.
    _provider: SdkMeterProvider,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Reason why there are no instruments, or nothing of them can be read.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be made or read, which is mailroom's own fault: {0}")]
pub(crate) struct MetricsError(String);

impl Metrics {
    /// Makes the instruments of the process that people call `worker`.
    ///
    /// # Errors
    /// Where the libraries refuse what is declared here.
    pub(crate) fn new(worker: &WorkerName) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .map_err(|error| MetricsError(error.to_string()))?;
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", "mailroom"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", worker.to_string()),
        ]);
        let provider = SdkMeterProvider::builder().with_resource(resource.build()).with_reader(exporter);
        Ok(Self::of(registry, provider.build()))
    }

    /// Makes instruments that nobody can read: what is recorded is dropped at once.
    pub(crate) fn unread() -> Self {
        Self::of(Registry::new(), SdkMeterProvider::builder().build())
    }

    fn of(registry: Registry, provider: SdkMeterProvider) -> Self {
        let meter = provider.meter("mailroom");
        let (at_work, outbox_lanes) = (Arc::new(AtWork::default()), Arc::default());
        at_work::observe(&meter, &at_work, &outbox_lanes);
        definitions::BUILD.observed(&meter, |gauge| {
            gauge.observe(1.0, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]);
        });
        Self(Arc::new(Instruments {
            registry,
            operation_duration: definitions::OPERATION_DURATION.histogram(&meter),
            sent: definitions::SENT.counter(&meter),
            consumed: definitions::CONSUMED.counter(&meter),
            process_duration: definitions::PROCESS_DURATION.histogram(&meter),
            publish_latency: definitions::PUBLISH_LATENCY.histogram(&meter),
            handler_duration: definitions::HANDLER_DURATION.histogram(&meter),
            handler_fuel: definitions::HANDLER_FUEL.histogram(&meter),
            handler_memory: definitions::HANDLER_MEMORY.histogram(&meter),
            handler_faults: definitions::HANDLER_FAULTS.counter(&meter),
            unmatched: definitions::UNMATCHED.counter(&meter),
            quarantined: definitions::QUARANTINED.counter(&meter),
            duplicates: definitions::DUPLICATES.counter(&meter),
            skipped: definitions::SKIPPED.counter(&meter),
            settle_batch: definitions::SETTLE_BATCH.histogram(&meter),
            at_work,
            outbox_lanes,
            meter,
            _provider: provider,
        }))
    }

    /// Has the servers' state told as well: the pool of `db`, and how long each does not answer.
    pub(crate) fn observe_servers(&self, db: &Db, kafka: &ServerHealth) {
        let meter = &self.0.meter;
        let pool = db.clone();
        definitions::POSTGRES_POOL.observed(meter, move |gauge| {
            let usage = pool.usage();
            for (state, connections) in [("used", usage.used), ("idle", usage.idle), ("max", usage.max)] {
                gauge.observe(number(connections), &[KeyValue::new(STATE, state)]);
            }
        });
        for (definition, health) in
            [(definitions::POSTGRES_AWAY, db.health()), (definitions::KAFKA_AWAY, kafka.clone())]
        {
            definition.observed(meter, move |gauge| gauge.observe(health.away_for().as_secs_f64(), &[]));
        }
    }

    /// Gives everything as Prometheus' text, version 0.0.4.
    ///
    /// # Errors
    /// Where the library does not write what it gathered.
    pub(crate) fn text(&self) -> Result<String, MetricsError> {
        let gathered = self.0.registry.gather();
        TextEncoder::new().encode_to_string(&gathered).map_err(|error| MetricsError(error.to_string()))
    }

    /// Notes how many lanes of the outbox are this host's.
    pub(crate) fn has_outbox_lanes(&self, lanes: usize) {
        self.0.outbox_lanes.store(lanes, Ordering::Relaxed);
    }
}

/// A count as instruments take it.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}
