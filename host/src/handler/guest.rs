//! Host's side of one instance: an empty WASI, HTTP, its meters, and what the call has asked for.
//!
//! Every limit is set before the instance exists, since a component's start may run forever, too.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::effects::Effects;
use super::fault::DeadlinePassed;
use super::meter::Meter;
use super::output::Output;
use super::rehearsal::Rehearsal;
use super::script::Script;
use crate::config::{CallLimits, HandlerName};

/// A guest that computes gives way to others after about 50 µs.
const YIELD_FUEL: u64 = 500_000;
/// Past the deadline the epoch ends what computes; this is for what waits.
const TIMEOUT_GRACE: Duration = Duration::from_millis(100);
/// Streams, pollables and such that a guest may have open.
const RESOURCES_MAX: usize = 1000;
/// Resources of earlier calls that an instance may have open and be kept.
pub(super) const RESOURCES_LEFT_MAX: usize = 100;
/// Random bytes of one request.
const RANDOM_BYTES_MAX: u64 = 1 << 20;
/// Most memory that one set of HTTP headers of a guest may cost, in bytes.
const FIELDS_BYTES_MAX: usize = 32 << 10;
/// Most memory that a guest may make the host allocate in one host call beyond its output, in bytes: names,
/// headers, a reply.
const HOSTCALL_BYTES_MIN: u64 = 4 << 20;

/// The host's side of one instance and of the call that it is in.
pub(super) struct Guest {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    /// The handler's, for its lines in the log.
    pub(super) name: HandlerName,
    pub(super) meter: Meter,
    pub(super) output: Output,
    pub(super) effects: Effects,
    /// Parts that the messages of other contracts than ours leave out.
    pub(super) in_hand: InHand,
    /// Script that the component interprets, where it does.
    pub(super) script: Option<Arc<Script>>,
}

/// Facts that a component which was written for another contract cannot say of what it publishes, or hold
/// beside the call.
#[derive(Debug, Default)]
pub(super) struct InHand {
    /// Key of the message in hand; what is published has it too.
    pub(super) key: Option<Vec<u8>>,
    /// Messages that the guest holds.
    pub(super) messages: u32,
    /// Bytes of those that it has made or changed.
    pub(super) held: u64,
    /// Bound of that.
    pub(super) held_max: u64,
}

impl Guest {
    /// Forgets the call that ended, so that another may come, and gives what it asked for. Every field is named: a
    /// new one has to say here what becomes of it.
    pub(super) fn renew(&mut self, left_open: usize) -> Effects {
        // The guest's memory holds handles into the table, so what it left open stays; the next call has its own bound.
        self.table.set_max_capacity(RESOURCES_MAX + left_open);
        let Self { wasi: _, http: _, table: _, name: _, meter, output, effects, in_hand, script: _ } = self;
        meter.renew();
        output.clear();
        in_hand.key = None;
        effects.end()
    }

    /// Counts the resources that calls have left open.
    pub(super) fn left_open(&mut self) -> usize {
        self.table.iter_mut().count()
    }

    /// Begins another call.
    pub(super) fn begin(&mut self, mut effects: Effects) {
        effects.tell_to(self.output.clone());
        self.effects = effects;
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.effects, table: &mut self.table, ctx: &mut self.http }
    }
}

/// A store for one instance, with its limits on memory and output, and for its first call.
pub(super) fn store(
    engine: &wasmtime::Engine,
    name: &HandlerName,
    script: Option<Arc<Script>>,
    limits: &CallLimits,
    mut effects: Effects,
) -> Store<Guest> {
    let output = Output::new(limits.log_bytes);
    effects.tell_to(output.clone());
    let mut table = ResourceTable::new();
    table.set_max_capacity(RESOURCES_MAX);
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(FIELDS_BYTES_MAX);
    let (wasi, meter) = (wasi(&output, effects.rehearsal()), Meter::new(limits, output.clone()));
    let in_hand = InHand { held_max: limits.output_bytes, ..InHand::default() };
    let guest = Guest { wasi, http, table, name: name.clone(), meter, output, effects, in_hand, script };
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.meter);
    store.set_hostcall_fuel(usize::try_from(hostcall_bytes(limits)).unwrap_or(usize::MAX));
    store
}

/// Bytes that one host call may make the host hold, or the reply.
pub(super) fn hostcall_bytes(limits: &CallLimits) -> u64 {
    limits.output_bytes.saturating_mul(4).max(HOSTCALL_BYTES_MIN)
}

/// Sets the limits on time: a call ends itself at `deadline`, or when its fuel is gone, and gives way often.
pub(super) fn wind_up(
    store: &mut Store<Guest>,
    limits: &CallLimits,
    deadline: Instant,
) -> wasmtime::Result<()> {
    store.set_fuel(limits.fuel)?;
    store.fuel_async_yield_interval(Some(YIELD_FUEL))?;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        if Instant::now() >= deadline { Err(DeadlinePassed.into()) } else { Ok(UpdateDeadline::Yield(1)) }
    });
    Ok(())
}

/// Returns when a call that waits is dropped: a little after one that computes has ended itself.
pub(super) fn timeout_at(deadline: Instant) -> Instant {
    deadline + TIMEOUT_GRACE
}

/// Linked because toolchains import it unasked, and empty: no files, no network, no environment.
fn wasi(output: &Output, rehearsal: Option<&Rehearsal>) -> WasiCtx {
    let mut wasi = WasiCtx::builder();
    wasi.stdout(output.clone())
        .stderr(output.clone())
        .max_random_size(RANDOM_BYTES_MAX)
        .allow_ip_name_lookup(false)
        .allow_tcp(false)
        .allow_udp(false);
    if let Some(rehearsal) = rehearsal {
        rehearsal.arrange(&mut wasi);
    }
    wasi.build()
}
