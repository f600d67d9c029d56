//! Compiling, off the message path: one thread of low priority, one component after another. What was
//! compiled before comes from the store, and waits for nobody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::compiled::Store;
use super::refused::Refused;

const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// How far the compiler steps back behind everything else.
const NICENESS: i32 = 10;

/// A component as it is distributed.
pub(crate) struct Wasm {
    pub(super) bytes: Vec<u8>,
    /// SHA-256 of them, hex.
    pub(super) digest: Arc<str>,
}

impl Wasm {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { digest: digest(&bytes), bytes }
    }
}

struct Job {
    wasm: Wasm,
    reply: oneshot::Sender<Result<Component, Refused>>,
}

/// The compiler's thread; it ends with this.
pub(super) struct Compiler {
    jobs: mpsc::Sender<Job>,
    engine: Engine,
    store: Option<Arc<Store>>,
}

impl Compiler {
    /// Starts the thread.
    pub(super) fn start(engine: Engine, store: Option<Arc<Store>>) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let compiler = Self { jobs, engine: engine.clone(), store: store.clone() };
        let work = move || {
            // Linux counts niceness by thread. Where it cannot be had, compiling is only less polite.
            if let Err(error) = rustix::process::nice(NICENESS) {
                tracing::debug!("Compiling at ordinary priority: {error}");
            }
            for Job { wasm, reply } in waiting {
                // What was replaced or removed meanwhile is not worth the time.
                if reply.is_closed() {
                    continue;
                }
                // The compiler reads untrusted input: should it panic, the next file is compiled all the same.
                let compiled = catch_unwind(AssertUnwindSafe(|| compile(&engine, &wasm.bytes)));
                let compiled =
                    compiled.unwrap_or_else(|_| Err(Refused::Compile("the compiler panicked".to_owned())));
                let component = compiled.as_ref().ok().cloned();
                if reply.send(compiled).is_err() {
                    tracing::debug!("Nobody waits for what was compiled");
                }
                if let (Some(store), Some(component)) = (&store, component) {
                    store.keep(&wasm.digest, &component);
                }
            }
        };
        std::thread::Builder::new().name("wasm-compile".to_owned()).spawn(work)?;
        Ok(compiler)
    }

    /// Takes what was compiled before, or compiles in its turn.
    pub(super) async fn compile(&self, wasm: Wasm) -> Result<Component, Refused> {
        kind(&wasm.bytes)?;
        if let Some(store) = &self.store {
            let (store, engine, digest) = (Arc::clone(store), self.engine.clone(), Arc::clone(&wasm.digest));
            let kept = spawn_blocking(move || store.find(&engine, &digest)).await;
            if let Some(component) = kept.map_err(|error| Refused::Unavailable(error.to_string()))? {
                return Ok(component);
            }
        }
        let (reply, compiled) = oneshot::channel();
        let gone = || Refused::Compile("the compiler's thread has ended; restart the host".to_owned());
        self.jobs.send(Job { wasm, reply }).map_err(|_| gone())?;
        compiled.await.map_err(|_| gone())?
    }
}

/// SHA-256, hex.
pub(super) fn digest(bytes: &[u8]) -> Arc<str> {
    format!("{:x}", Sha256::digest(bytes)).into()
}

fn kind(wasm: &[u8]) -> Result<(), Refused> {
    if wasm.starts_with(CORE_MODULE) {
        return Err(Refused::NotAComponent("a core WebAssembly module"));
    }
    if !wasm.starts_with(COMPONENT) {
        let found = if wasm.is_empty() { "an empty file" } else { "something else than WebAssembly" };
        return Err(Refused::NotAComponent(found));
    }
    Ok(())
}

fn compile(engine: &Engine, wasm: &[u8]) -> Result<Component, Refused> {
    Component::from_binary(engine, wasm).map_err(|error| Refused::Compile(format!("{error:#}")))
}
