//! Compiling, off the message path: in child processes with limits, or on a thread where there can be none. What was
//! compiled before comes from the store, and waits for nobody.

mod child;
mod in_process;
mod processes;
mod under_way;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use bytesize::ByteSize;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::compiled::{Store, deserialized};
use super::refused::Refused;
use super::script::{Script, interpreter};
use crate::config::HandlerName;
pub(crate) use child::{COMMAND as COMPILE_COMMAND, CompileLimits, run as compile_in_this_process};
use in_process::Thread;
use processes::Processes;
pub(crate) use processes::{CompilePace, this_binary_compiles};
use under_way::UnderWay;

const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// A component of more than this takes long enough that somebody waits and wants to know what for.
const TAKES_LONG_BYTES: usize = 1 << 20;
/// Priority of the compiler, behind everything else.
const NICENESS: i32 = 10;

/// A component as it is distributed.
pub(crate) struct Wasm {
    pub(super) bytes: Cow<'static, [u8]>,
    /// SHA-256 of them, hex.
    pub(super) digest: Arc<str>,
    /// Script that it interprets, where the handler is one.
    pub(super) script: Option<Arc<Script>>,
}

impl Wasm {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { digest: digest(&bytes), bytes: Cow::Owned(bytes), script: None }
    }

    /// Makes what a file holds: a component, or a script for the one that interprets it.
    pub(super) fn of_file(path: &Path, bytes: Vec<u8>) -> Self {
        match Script::of(path, &bytes) {
            None => Self::new(bytes),
            Some(script) => {
                let (bytes, digest) = interpreter();
                Self { bytes, digest, script: Some(Arc::new(script)) }
            }
        }
    }

    /// The digest of the file that it came from.
    pub(super) fn version(&self) -> &Arc<str> {
        self.script.as_ref().map_or(&self.digest, |script| &script.digest)
    }
}

/// The compiler of one engine.
pub(super) struct Compiler {
    engine: Engine,
    store: Option<Arc<Store>>,
    place: Place,
    /// One that several handlers have, or several files hold, waits for one compilation.
    under_way: UnderWay<Component>,
    /// Component in which all scripts run, once one was loaded.
    interpreter: OnceCell<Component>,
}

/// Place of a compilation.
enum Place {
    Processes(Processes),
    Thread(Thread),
}

impl Compiler {
    /// Makes a compiler that works in child processes where this process's binary can be one.
    pub(super) fn new(
        engine: Engine,
        store: Option<Arc<Store>>,
        limits: CompileLimits,
        pace: CompilePace,
    ) -> std::io::Result<Self> {
        let place = match Processes::new(limits, pace) {
            Some(processes) => Place::Processes(processes),
            None => Place::Thread(Thread::start(engine.clone())?),
        };
        Ok(Self { engine, store, place, under_way: UnderWay::default(), interpreter: OnceCell::new() })
    }

    /// Takes what was compiled before, or compiles in its turn.
    pub(super) async fn compile(&self, name: &HandlerName, wasm: Wasm) -> Result<Component, Refused> {
        if wasm.script.is_none() {
            let digest = Arc::clone(&wasm.digest);
            return self.under_way.made_once(&digest, self.found_or_compiled(name, wasm)).await;
        }
        // Reading megabytes of code from the store takes longer than all else that an edit of a script does.
        self.interpreter.get_or_try_init(|| self.found_or_compiled(name, wasm)).await.cloned()
    }

    async fn found_or_compiled(&self, name: &HandlerName, wasm: Wasm) -> Result<Component, Refused> {
        kind(&wasm.bytes)?;
        let digest = Arc::clone(&wasm.digest);
        if let Some(component) = self.find(&digest).await? {
            return Ok(component);
        }
        let (size, started) = (wasm.bytes.len(), Instant::now());
        let takes_long = size > TAKES_LONG_BYTES;
        if takes_long {
            let size = ByteSize(u64::try_from(size).unwrap_or(u64::MAX));
            tracing::info!("{name}: compiling {size} of WebAssembly");
        }
        let (component, code) = match &self.place {
            Place::Processes(processes) => {
                let code = processes.compile(&wasm.bytes).await?;
                let engine = self.engine.clone();
                let loaded =
                    spawn_blocking(move || deserialized(&engine, &code).map(|component| (component, code)));
                let (component, code) = loaded
                    .await
                    .map_err(|error| Refused::Unavailable(error.to_string()))?
                    .map_err(|error| Refused::by_compiler(format!("{error:#}")))?;
                (component, Some(code))
            }
            Place::Thread(thread) => (thread.compile(wasm).await?, None),
        };
        if takes_long {
            tracing::info!("{name}: compiled in {:.1} s", started.elapsed().as_secs_f64());
        }
        self.keep(digest, &component, code);
        Ok(component)
    }

    async fn find(&self, digest: &Arc<str>) -> Result<Option<Component>, Refused> {
        let Some(store) = &self.store else { return Ok(None) };
        let (store, engine, digest) = (Arc::clone(store), self.engine.clone(), Arc::clone(digest));
        let found = spawn_blocking(move || store.find(&engine, &digest)).await;
        found.map_err(|error| Refused::Unavailable(error.to_string()))
    }

    /// Nobody waits for the disk.
    fn keep(&self, digest: Arc<str>, component: &Component, code: Option<Vec<u8>>) {
        let Some(store) = self.store.clone() else { return };
        let component = component.clone();
        // A process that ends waits for it, a little.
        drop(spawn_blocking(move || match code {
            Some(code) => store.keep(&digest, &code),
            None => store.keep_component(&digest, &component),
        }));
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
