//! Gauges of the handlers at work, observed whenever somebody reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use super::{GROUP, HANDLER, STATE, definitions, number};
use crate::handler::Handler;

/// A handler at work, in numbers of its last turn.
#[derive(Debug)]
pub(super) struct HandlerState {
    pub(super) handler: Arc<Handler>,
    pub(super) calls: AtomicUsize,
    pub(super) lanes: AtomicUsize,
    pub(super) is_open: AtomicBool,
}

/// The handlers at work, by name.
#[derive(Debug, Default)]
pub(super) struct AtWork(Mutex<BTreeMap<String, Arc<HandlerState>>>);

impl AtWork {
    pub(super) fn begin(&self, handler: &Arc<Handler>) -> Arc<HandlerState> {
        let state = Arc::new(HandlerState {
            handler: Arc::clone(handler),
            calls: AtomicUsize::new(0),
            lanes: AtomicUsize::new(0),
            is_open: AtomicBool::new(false),
        });
        self.states().insert(handler.name.to_string(), Arc::clone(&state));
        state
    }

    /// Forgets a handler, unless another of its name works since.
    pub(super) fn end(&self, state: &Arc<HandlerState>) {
        let mut states = self.states();
        let name = state.handler.name.as_str();
        if states.get(name).is_some_and(|current| Arc::ptr_eq(current, state)) {
            states.remove(name);
        }
    }

    /// No code that can panic runs under it.
    fn states(&self) -> MutexGuard<'_, BTreeMap<String, Arc<HandlerState>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn each(&self) -> Vec<Arc<HandlerState>> {
        self.states().values().cloned().collect()
    }
}

/// Has the handlers at work told, and how many lanes of the outbox there are.
pub(super) fn observe(meter: &Meter, at_work: &Arc<AtWork>, outbox_lanes: &Arc<AtomicUsize>) {
    let of = |tell: fn(&HandlerState, &dyn AsyncInstrument<f64>)| {
        let at_work = Arc::clone(at_work);
        move |gauge: &dyn AsyncInstrument<f64>| at_work.each().iter().for_each(|state| tell(state, gauge))
    };
    definitions::HANDLER_INSTANCES.observed(meter, of(instances));
    definitions::HANDLER_VERSION.observed(meter, of(version));
    definitions::BREAKER_STATE.observed(meter, of(breaker));
    let (inbox, outbox_lanes) = (of(inbox_lanes), Arc::clone(outbox_lanes));
    definitions::LANES.observed(meter, move |gauge| {
        inbox(gauge);
        let lanes = outbox_lanes.load(Ordering::Relaxed);
        gauge.observe(number(lanes), &[KeyValue::new("queue", "outbox")]);
    });
}

fn name(state: &HandlerState) -> KeyValue {
    KeyValue::new(HANDLER, state.handler.name.to_string())
}

fn instances(state: &HandlerState, gauge: &dyn AsyncInstrument<f64>) {
    let idle = state.handler.current().idle_instances();
    for (of, instances) in [("busy", state.calls.load(Ordering::Relaxed)), ("idle", idle)] {
        gauge.observe(number(instances), &[name(state), KeyValue::new(STATE, of)]);
    }
}

fn version(state: &HandlerState, gauge: &dyn AsyncInstrument<f64>) {
    let component = state.handler.current();
    let version = component.manifest().version.clone().unwrap_or_default();
    let digest = KeyValue::new("handler.digest", Arc::clone(component.digest()));
    gauge.observe(1.0, &[name(state), digest, KeyValue::new("handler.version", version)]);
}

fn breaker(state: &HandlerState, gauge: &dyn AsyncInstrument<f64>) {
    let is_open = state.is_open.load(Ordering::Relaxed);
    gauge.observe(f64::from(u8::from(is_open)), &[name(state)]);
}

fn inbox_lanes(state: &HandlerState, gauge: &dyn AsyncInstrument<f64>) {
    let lanes = state.lanes.load(Ordering::Relaxed);
    let group = KeyValue::new(GROUP, Arc::clone(&state.handler.group));
    gauge.observe(number(lanes), &[KeyValue::new("queue", "inbox"), group]);
}
