//! Instruments of the records that a handler's consumer takes.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::BoundCounter;

use super::bound::Bound;
use super::{GROUP, HANDLER, Metrics, TOPIC};
use crate::handler::Handler;

/// The instruments of a handler's consumer.
#[derive(Debug)]
pub(crate) struct IngestMetrics {
    metrics: Metrics,
    group: Arc<str>,
    consumed: Bound<Arc<str>, BoundCounter<u64>>,
    unmatched: BoundCounter<u64>,
    skipped: BoundCounter<u64>,
}

impl Metrics {
    /// Binds the instruments of a handler's consumer.
    pub(crate) fn of_ingest(&self, handler: &Handler) -> IngestMetrics {
        let name = [KeyValue::new(HANDLER, handler.name.to_string())];
        IngestMetrics {
            group: Arc::clone(&handler.group),
            consumed: Bound::default(),
            unmatched: self.0.unmatched.bind(&name),
            skipped: self.0.skipped.bind(&name),
            metrics: self.clone(),
        }
    }
}

impl IngestMetrics {
    /// Records that a record of this topic was taken.
    pub(crate) fn consumed(&mut self, topic: &Arc<str>) {
        let attributes = || {
            [
                KeyValue::new("messaging.system", "kafka"),
                KeyValue::new("messaging.operation.name", "poll"),
                KeyValue::new(TOPIC, Arc::clone(topic)),
                KeyValue::new(GROUP, Arc::clone(&self.group)),
            ]
        };
        let bind = || self.metrics.0.consumed.bind(&attributes());
        self.consumed.of(Arc::clone(topic), bind).add(1);
    }

    /// Records that so many offsets of a log were passed over.
    pub(crate) fn skipped(&self, offsets: u64) {
        self.skipped.add(offsets);
    }

    /// Records that no subscription takes so many records.
    pub(crate) fn unmatched(&self, records: u64) {
        self.unmatched.add(records);
    }
}
