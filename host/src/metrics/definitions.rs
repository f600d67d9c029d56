//! Every instrument there is: its name, its unit, and what it means. `docs/operations.md` has a row for each.

use opentelemetry::metrics::{AsyncInstrument, Counter, Histogram, Meter};

/// An instrument as whoever reads it knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    /// A unit of UCUM, or what is counted in braces.
    pub(super) unit: &'static str,
    pub(super) description: &'static str,
    pub(super) kind: Kind,
}

/// Kind of an instrument: what it does with what it is given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Adds it up.
    Counter,
    /// Tells it as it is when somebody reads.
    Gauge,
    /// Counts it in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// Seconds, as OpenTelemetry's conventions for messaging have them.
const CONVENTIONAL: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Seconds of calls, most of which take a fraction of a millisecond.
const CALL: &[f64] = &[
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];
/// Seconds of what may wait for an outage to end.
const LATENCY: &[f64] =
    &[0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];
const FUEL: &[f64] = &[1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11];
/// Buckets of bytes from 64 KiB, a page of WebAssembly, to 1 GiB.
const BYTES: &[f64] = &[
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];
const ROWS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 10_000.0];

/// Declares the instruments, and a list of them all.
macro_rules! definitions {
    ($($constant:ident = $name:literal, $unit:literal, $kind:ident $(($bounds:ident))?, $description:literal;)*) => {
        $(pub(super) const $constant: Definition =
            Definition { name: $name, unit: $unit, description: $description, kind: Kind::$kind $(($bounds))? };)*
        #[cfg(test)]
        pub(super) const ALL: &[Definition] = &[$($constant),*];
    };
}

definitions! {
    OPERATION_DURATION = "messaging.client.operation.duration", "s", Histogram(CONVENTIONAL),
        "Time from handing a record to Kafka's client until it was acknowledged or refused";
    SENT = "messaging.client.sent.messages", "{message}", Counter,
        "Records that the relay handed to Kafka and that were acknowledged or refused";
    CONSUMED = "messaging.client.consumed.messages", "{message}", Counter,
        "Records that a handler's consumer took from Kafka, those that no subscription takes included";
    PROCESS_DURATION = "messaging.process.duration", "s", Histogram(CONVENTIONAL),
        "Time of a handler's call for one message";
    PUBLISH_LATENCY = "mailroom.outbox.publish.latency", "s", Histogram(LATENCY),
        "Time from a message's insert into the outbox, or the time it was scheduled for, until Kafka acknowledged it";
    HANDLER_DURATION = "mailroom.handler.duration", "s", Histogram(CALL),
        "Time of a handler's call, by how it ended";
    HANDLER_FUEL = "mailroom.handler.fuel", "{unit}", Histogram(FUEL),
        "Instructions of a call, in wasmtime's units of fuel";
    HANDLER_MEMORY = "mailroom.handler.memory.peak", "By", Histogram(BYTES),
        "Most memory that a call's instance held";
    HANDLER_FAULTS = "mailroom.handler.faults", "{fault}", Counter,
        "Calls that ended with a fault, by its kind";
    HANDLER_INSTANCES = "mailroom.handler.instances", "{instance}", Gauge,
        "Calls under way, and reused instances that wait for one";
    HANDLER_VERSION = "mailroom.handler.version", "{version}", Gauge,
        "1 for the version of a handler that this host calls";
    UNMATCHED = "mailroom.unmatched", "{record}", Counter,
        "Records that no subscription of the handler takes";
    QUARANTINED = "mailroom.quarantined", "{message}", Counter,
        "Messages that ended without a call, since no handler can have them";
    DUPLICATES = "mailroom.duplicates", "{record}", Counter,
        "Records that were dropped, since their handler had their ids already";
    SKIPPED = "mailroom.skipped", "{offset}", Counter,
        "Offsets of logs that were passed over unread, as ingest.gap = \"skip\" says";
    SETTLE_BATCH = "mailroom.settle.batch", "{message}", Histogram(ROWS),
        "Messages that one transaction settled";
    BREAKER_STATE = "mailroom.breaker.state", "{breaker}", Gauge,
        "1 while the handler's circuit breaker is open, else 0";
    LANES = "mailroom.lanes", "{lane}", Gauge,
        "Lanes that this host owns";
    POSTGRES_POOL = "mailroom.postgres.pool", "{connection}", Gauge,
        "Connections of the host's pool that commands use, that are idle, and that it may have at most";
    POSTGRES_AWAY = "mailroom.postgres.away", "s", Gauge,
        "Time for which Postgres has not answered this host; 0 while it does";
    KAFKA_AWAY = "mailroom.kafka.away", "s", Gauge,
        "Time for which Kafka has not answered this host; 0 while it does";
    BUILD = "mailroom.build", "{build}", Gauge,
        "1, with the version of this program";
    OUTBOX_PENDING = "mailroom.outbox.pending", "{message}", Gauge,
        "Messages of the outbox that wait to be published, in the whole database";
    OUTBOX_OLDEST_AGE = "mailroom.outbox.oldest_age", "s", Gauge,
        "Age of the oldest message of the outbox that could be published now; 0 where there is none";
    INBOX_PENDING = "mailroom.inbox.pending", "{message}", Gauge,
        "Messages of the inbox that wait, in the whole database";
    INBOX_OLDEST_AGE = "mailroom.inbox.oldest_eligible_age", "s", Gauge,
        "Age of the oldest message of the inbox that could be handled now; 0 where there is none";
    INBOX_LAG = "mailroom.inbox.lag", "{record}", Gauge,
        "Records of a topic that are in Kafka and were not taken into the inbox yet";
    DEAD_LETTERS = "mailroom.dead_letters", "{letter}", Gauge,
        "Dead letters that nobody replayed or discarded, in the whole database";
    KEYS_BLOCKED = "mailroom.keys.blocked", "{key}", Gauge,
        "Keys that wait, or are parked, behind a dead letter, in the whole database";
}

impl Definition {
    pub(super) fn counter(&self, meter: &Meter) -> Counter<u64> {
        meter.u64_counter(self.name).with_unit(self.unit).with_description(self.description).build()
    }

    pub(super) fn histogram(&self, meter: &Meter) -> Histogram<f64> {
        let histogram =
            meter.f64_histogram(self.name).with_unit(self.unit).with_description(self.description);
        let Kind::Histogram(bounds) = self.kind else { return histogram.build() };
        histogram.with_boundaries(bounds.to_vec()).build()
    }

    /// Has `observe` called whenever somebody reads; what it does not tell then is not there.
    pub(super) fn observed(
        &self,
        meter: &Meter,
        observe: impl Fn(&dyn AsyncInstrument<f64>) + Send + Sync + 'static,
    ) {
        let gauge = meter.f64_observable_gauge(self.name).with_unit(self.unit);
        // The meter keeps what it calls.
        let _gauge = gauge.with_description(self.description).with_callback(observe).build();
    }
}
