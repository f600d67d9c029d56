//! Instruments of a handler's calls.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram};

use super::at_work::HandlerState;
use super::bound::Bound;
use super::{GROUP, HANDLER, Metrics, TOPIC, number};
use crate::handler::Handler;
use crate::pipeline::outcome::{End, Outcome, Usage};

/// Ways in which a call ends.
const OUTCOMES: [&str; 6] = ["completed", "skipped", "retry", "rejected", "fault", "unavailable"];

/// End of a call, in words that are labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallEnd {
    /// One of [`OUTCOMES`].
    outcome: &'static str,
    /// Kind of the failure; `None` where nothing failed.
    error: Option<&'static str>,
}

impl CallEnd {
    /// Names an end; `None` where nobody was called.
    pub(crate) fn of(end: &End) -> Option<Self> {
        let (outcome, error) = match end {
            End::Decided(Outcome::Completed) => ("completed", None),
            End::Decided(Outcome::Skipped(_)) => ("skipped", None),
            End::Decided(Outcome::Retry { .. }) => ("retry", Some("retry")),
            End::Decided(Outcome::Rejected(_)) => ("rejected", Some("rejected")),
            End::Faulted(fault) => ("fault", Some(fault.kind())),
            End::Unavailable(_) => ("unavailable", Some("unavailable")),
            End::NotCalled(_) => return None,
        };
        Some(Self { outcome, error })
    }
}

/// The instruments of a handler at work.
#[derive(Debug)]
pub(crate) struct HandlerMetrics {
    metrics: Metrics,
    state: Arc<HandlerState>,
    durations: Bound<&'static str, BoundHistogram<f64>>,
    fuel: BoundHistogram<f64>,
    memory: BoundHistogram<f64>,
    faults: Bound<&'static str, BoundCounter<u64>>,
    processed: Bound<(Arc<str>, Option<&'static str>), BoundHistogram<f64>>,
}

impl Metrics {
    /// Binds the instruments of a handler, which counts as at work until they are dropped.
    pub(crate) fn of_handler(&self, handler: &Arc<Handler>) -> HandlerMetrics {
        let name = [KeyValue::new(HANDLER, handler.name.to_string())];
        let mut metrics = HandlerMetrics {
            state: self.0.at_work.begin(handler),
            durations: Bound::default(),
            fuel: self.0.handler_fuel.bind(&name),
            memory: self.0.handler_memory.bind(&name),
            faults: Bound::default(),
            processed: Bound::default(),
            metrics: self.clone(),
        };
        for outcome in OUTCOMES {
            metrics.duration(outcome);
        }
        metrics
    }
}

impl HandlerMetrics {
    /// Records a call for a message of this topic.
    pub(crate) fn called(&mut self, topic: &Arc<str>, end: CallEnd, usage: Usage) {
        let seconds = usage.took.as_secs_f64();
        self.duration(end.outcome).record(seconds);
        let (instruments, handler) = (&self.metrics.0, &self.state.handler);
        let attributes = || {
            let mut attributes = vec![
                KeyValue::new("messaging.system", "kafka"),
                KeyValue::new("messaging.operation.name", "process"),
                KeyValue::new(TOPIC, Arc::clone(topic)),
                KeyValue::new(GROUP, Arc::clone(&handler.group)),
            ];
            attributes.extend(end.error.map(|error| KeyValue::new("error.type", error)));
            attributes
        };
        let bind = || instruments.process_duration.bind(&attributes());
        self.processed.of((Arc::clone(topic), end.error), bind).record(seconds);
        self.fuel.record(large(usage.fuel));
        self.memory.record(large(usage.memory_peak));
        if let ("fault", Some(kind)) = (end.outcome, end.error) {
            let attributes =
                || [KeyValue::new(HANDLER, handler.name.to_string()), KeyValue::new("fault", kind)];
            self.faults.of(kind, || instruments.handler_faults.bind(&attributes())).add(1);
        }
    }

    /// Notes what is true of the handler now: its calls under way and its lanes.
    pub(crate) fn has(&self, calls: usize, lanes: usize) {
        self.state.calls.store(calls, Ordering::Relaxed);
        self.state.lanes.store(lanes, Ordering::Relaxed);
    }

    /// Notes whether its breaker is open.
    pub(crate) fn has_breaker(&self, open: bool) {
        self.state.is_open.store(open, Ordering::Relaxed);
    }

    fn duration(&mut self, outcome: &'static str) -> &BoundHistogram<f64> {
        let name = &self.state.handler.name;
        let attributes = || [KeyValue::new(HANDLER, name.to_string()), KeyValue::new("outcome", outcome)];
        self.durations.of(outcome, || self.metrics.0.handler_duration.bind(&attributes()))
    }
}

impl Drop for HandlerMetrics {
    fn drop(&mut self) {
        self.metrics.0.at_work.end(&self.state);
    }
}

/// An amount as instruments take it.
fn large(amount: u64) -> f64 {
    number(usize::try_from(amount).unwrap_or(usize::MAX))
}
