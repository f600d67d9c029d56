//! The process's engine: pool, clocks and linker that all components share.
//!
//! The pool is the ceiling of what all guests hold together. A full one is waited for, in front of it, and
//! never an error of the guest.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use super::bindings::SqlHandler;
use super::bindings::config::wasi::config::store as config_store;
use super::bindings::keyvalue::Imports as KeyValue;
use super::bindings::logging::wasi::logging::logging;
use super::bindings::messaging::Messages as WasiMessages;
use super::bindings::script::mailroom::contract::script;
use super::bindings::wasmcloud::Messages as WasmcloudMessages;
use super::clock::Clock;
use super::compile::{CompileLimits, CompilePace, Compiler, Wasm};
use super::compiled::{Store, StoreSettings};
use super::component::{Code, Component};
use super::fault::Stopped;
use super::guest::Guest;
use super::http::Clients;
use super::imports;
use super::instance::Keeping;
use super::linked::Linked;
use super::refused::Refused;
use super::sandbox::Sandbox;
use super::subscription::Subscription;
use super::world;
use crate::config::{HandlerName, Host, Http, Limits, Manifest};
use crate::pipeline::outcome::Fault;

/// Core instances of a component. Python's toolchain links dozens.
pub(super) const INSTANCES_MAX: u32 = 60;
/// Linear memories of a component.
pub(super) const MEMORIES_MAX: u32 = 4;
/// Tables of a component.
pub(super) const TABLES_MAX: u32 = 20;
/// Part of the stack that a call in the host has beyond the guest's, in bytes.
const HOST_STACK_BYTES: usize = 1536 << 10;

/// Components that are asked for their subscriptions at once and may take their whole deadline.
const LOADS_MAX: usize = 2;
/// The same of those that may take [`QUICK`].
const QUICK_LOADS_MAX: usize = 2;
/// Nearly every component answers within this.
const QUICK: Duration = Duration::from_millis(500);

/// A kept instance that had no call for so long is thrown away; it may be found as late as twice that.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Sizes for which the pool has room.
#[derive(Debug, Clone)]
pub(crate) struct EngineSettings {
    /// Calls that run at once in this process; so many instances may be kept besides.
    pub(crate) instances_max: usize,
    /// The most memory that any call may ask for, in bytes.
    pub(crate) memory_max: u64,
    /// The most elements that any table may have.
    pub(crate) table_elements_max: u64,
    /// Bytes of a guest's stack.
    pub(crate) stack: u64,
    /// Folder of the code cache and its size; `None` keeps no compiled code.
    pub(crate) compiled: Option<StoreSettings>,
    /// Limits of one compilation.
    pub(crate) compile: CompileLimits,
    /// Pace of compiling.
    pub(crate) pace: CompilePace,
    /// Way in which guests reach hosts that are granted; `None` lets no request through.
    pub(crate) http: Option<Http>,
}

impl EngineSettings {
    /// Makes settings with room for so many calls within the limits, and without HTTP.
    pub(crate) fn of(host: &Host, limits: &Limits, instances_max: usize) -> Self {
        let compiled = StoreSettings { folder: host.compiled.clone(), bytes_max: host.compiled_bytes_max };
        Self {
            instances_max,
            memory_max: limits.memory_max,
            table_elements_max: limits.table_elements_max(),
            stack: limits.stack,
            compiled: (host.compiled_bytes_max > 0).then_some(compiled),
            compile: CompileLimits {
                time: host.compile_timeout,
                memory: host.compile_memory_max,
                threads: 1,
            },
            pace: CompilePace::Background,
            http: None,
        }
    }
}

/// Reason why there is no engine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The pool does not fit, or this machine lacks something.
    #[error(
        "the WebAssembly engine cannot start: {0}; a lower worker.concurrency or limits.memory-max may help"
    )]
    Settings(String),
    /// No thread for the clock or the compiler.
    #[error("the WebAssembly engine cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// One per process.
pub(crate) struct Engine {
    pub(super) wasmtime: wasmtime::Engine,
    pub(super) linker: Linker<Guest>,
    /// Calls wait here: an exhausted pool would be an error at once.
    pub(super) slots: Semaphore,
    /// Instances between two calls. They hold no slot: the pool has room for them too.
    pub(super) keeping: Arc<Keeping>,
    /// Loads have places of their own in the pool, so that full slots cannot hold up a reload. Compiling needs none.
    quick_loading: Semaphore,
    /// Places for guests that did not answer in a place for the quick: however many do not end, others load.
    loading: Semaphore,
    compiler: Compiler,
    guests: Handle,
    clients: Option<Clients>,
    /// Clock by which guests are interrupted: whoever runs a guest takes part in it.
    pub(super) clock: Clock,
}

impl Engine {
    /// Reserves the pool and starts the clock and the compiler. What a load runs of a guest runs on `guests`.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub(crate) fn new(settings: EngineSettings, guests: Handle) -> Result<Arc<Self>, EngineError> {
        let refused = |error: wasmtime::Error| EngineError::Settings(format!("{error:#}"));
        let wasmtime = wasmtime::Engine::new(&config(&settings)?).map_err(refused)?;
        let mut linker = Linker::new(&wasmtime);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(refused)?;
        imports::http::link(&mut linker).map_err(refused)?;
        SqlHandler::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(refused)?;
        KeyValue::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(refused)?;
        config_store::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(refused)?;
        logging::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(refused)?;
        WasmcloudMessages::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(refused)?;
        WasiMessages::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(refused)?;
        script::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(refused)?;
        let ticking = wasmtime.weak();
        let store = settings.compiled.and_then(|settings| Store::open(settings, &wasmtime)).map(Arc::new);
        Ok(Arc::new(Self {
            slots: Semaphore::new(settings.instances_max),
            keeping: Keeping::new(settings.instances_max),
            quick_loading: Semaphore::new(QUICK_LOADS_MAX),
            loading: Semaphore::new(LOADS_MAX),
            compiler: Compiler::new(wasmtime.clone(), store, settings.compile, settings.pace)?,
            guests,
            clients: settings.http.map(Clients::new),
            clock: Clock::start(move || {
                if let Some(engine) = ticking.upgrade() {
                    engine.increment_epoch();
                }
            })?,
            linker,
            wasmtime,
        }))
    }

    /// Compiles a component, checks its world and asks it for its subscriptions, on the guests' runtime and under
    /// the manifest's limits. The caller's runtime only waits.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) async fn load(
        self: &Arc<Self>,
        name: &HandlerName,
        wasm: Wasm,
        manifest: Arc<Manifest>,
    ) -> Result<Component, Refused> {
        let (digest, script) = (Arc::clone(wasm.version()), wasm.script.clone());
        let manifest = if script.is_some() { Arc::new(manifest.of_script()) } else { manifest };
        let compiled = self.compiler.compile(name, wasm).await?;
        let found = world::check(&compiled, &self.wasmtime)?;
        let pre = self.linker.instantiate_pre(&compiled);
        let pre = pre.map_err(|error| found.unlinked(&error))?;
        let linked = Arc::new(Linked::new(found.contract, pre)?);
        let kept = self.keeping.version(&manifest);
        let client = self.clients.as_ref().map(Clients::client);
        let sandbox = Sandbox {
            engine: Arc::clone(self),
            name: name.clone(),
            linked,
            script,
            world: found,
            client,
            kept,
        };
        let declared = self.declared(&sandbox, &manifest).await.map_err(|stopped| match stopped {
            Stopped::Faulted(fault) => Refused::SubscriptionsFaulted(fault),
            Stopped::Unavailable(why) => Refused::Unavailable(why),
        })?;
        Component::new(digest, Code::Sandboxed(sandbox), declared, manifest)
    }

    /// Throws away kept instances that nobody calls any more, until it is stopped.
    pub(crate) async fn tend(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(IDLE_MAX)).await.is_some() {
            self.keeping.let_go(IDLE_MAX);
        }
    }

    /// Asking has no effects, so that who is slow may be asked twice.
    async fn declared(
        &self,
        sandbox: &Sandbox,
        manifest: &Arc<Manifest>,
    ) -> Result<Vec<Subscription>, Stopped> {
        let whole = manifest.limits.deadline;
        for (places, within) in [(&self.quick_loading, whole.min(QUICK)), (&self.loading, whole)] {
            let place = places.acquire().await;
            let _place = place.map_err(|error| Stopped::Unavailable(error.to_string()))?;
            match sandbox.subscriptions(&self.guests, manifest, within).await {
                Err(Stopped::Faulted(Fault::Deadline { .. })) if within < whole => {}
                said => return said,
            }
        }
        Err(Stopped::Unavailable("nobody was asked".to_owned()))
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("free", &self.slots.available_permits()).finish_non_exhaustive()
    }
}

/// Measured: the pool's resident pages are worth more than all else, and both meters are needed (fuel
/// so that a computing neighbour yields, epochs for the wall clock).
fn config(settings: &EngineSettings) -> Result<Config, EngineError> {
    let too_many = |_| EngineError::Settings(format!("{settings:?} is more than a pool can hold"));
    let calls = u32::try_from(settings.instances_max).map_err(too_many)?;
    let loads = u32::try_from(QUICK_LOADS_MAX + LOADS_MAX).map_err(too_many)?;
    // As many as run may be kept besides. A fourth more than calls, and those of loads: instances are given back a
    // little late.
    let slots = calls.saturating_mul(2).saturating_add(calls / 4).saturating_add(loads);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_stacks(slots)
        .total_core_instances(slots.saturating_mul(INSTANCES_MAX))
        .total_memories(slots.saturating_mul(MEMORIES_MAX))
        .total_tables(slots.saturating_mul(TABLES_MAX))
        .max_core_instances_per_component(INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(4)
        .max_memory_size(usize::try_from(settings.memory_max).map_err(too_many)?)
        .table_elements(usize::try_from(settings.table_elements_max).map_err(too_many)?)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20)
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(8 << 20)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    let stack = usize::try_from(settings.stack).map_err(too_many)?;
    let mut config = code_config();
    config
        .max_wasm_stack(stack)
        .async_stack_size(stack.saturating_add(HOST_STACK_BYTES))
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(config)
}

/// Returns the settings that machine code depends on: whoever compiles has to agree with whoever runs.
///
/// One thread compiles; processes that compile take more of them where somebody waits. Debug information is left out. What it says is the guest's own, and to look up one line in a few kilobytes of it can
/// take any time.
pub(super) fn code_config() -> Config {
    let mut config = Config::new();
    config
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .consume_fuel(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        .parallel_compilation(false);
    config
}
