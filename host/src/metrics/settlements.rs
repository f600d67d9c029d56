//! Instruments of settlements.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram};

use super::{HANDLER, Metrics, number};

/// The instruments of a handler's settlements.
#[derive(Debug, Clone)]
pub(crate) struct SettleMetrics {
    batch: BoundHistogram<f64>,
    quarantined: BoundCounter<u64>,
    duplicates: BoundCounter<u64>,
}

impl Metrics {
    /// Binds the instruments of a handler's settlements.
    pub(crate) fn of_settlements(&self, handler: &str) -> SettleMetrics {
        let name = [KeyValue::new(HANDLER, handler.to_owned())];
        SettleMetrics {
            batch: self.0.settle_batch.bind(&name),
            quarantined: self.0.quarantined.bind(&name),
            duplicates: self.0.duplicates.bind(&name),
        }
    }
}

impl SettleMetrics {
    /// Records that a transaction dropped so many records.
    pub(crate) fn dropped(&self, duplicates: usize) {
        self.duplicates.add(u64::try_from(duplicates).unwrap_or(u64::MAX));
    }

    /// Records a transaction that settled so many messages, of which some were quarantined.
    pub(crate) fn settled(&self, messages: usize, quarantined: usize) {
        if messages > 0 {
            self.batch.record(number(messages));
        }
        if quarantined > 0 {
            self.quarantined.add(u64::try_from(quarantined).unwrap_or(u64::MAX));
        }
    }
}
