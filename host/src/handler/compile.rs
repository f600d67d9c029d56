//! Compiling, off the message path: one thread of low priority, one component after another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use wasmtime::component::Component;

use super::refused::Refused;

const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// How far the compiler steps back behind everything else.
const NICENESS: i32 = 10;

/// A component as machine code.
pub(super) struct Compiled {
    pub(super) component: Component,
    /// SHA-256 of the file, hex.
    pub(super) digest: Arc<str>,
}

struct Job {
    wasm: Vec<u8>,
    reply: oneshot::Sender<Result<Compiled, Refused>>,
}

/// The compiler's thread; it ends with this.
pub(super) struct Compiler {
    jobs: mpsc::Sender<Job>,
}

impl Compiler {
    /// Starts the thread.
    pub(super) fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let work = move || {
            // Linux counts niceness by thread. Where it cannot be had, compiling is only less polite.
            if let Err(error) = rustix::process::nice(NICENESS) {
                tracing::debug!("Compiling at ordinary priority: {error}");
            }
            for Job { wasm, reply } in waiting {
                // The compiler reads untrusted input: should it panic, the next file is compiled all the same.
                let compiled = catch_unwind(AssertUnwindSafe(|| compile(&engine, &wasm)));
                let compiled =
                    compiled.unwrap_or_else(|_| Err(Refused::Compile("the compiler panicked".to_owned())));
                if reply.send(compiled).is_err() {
                    tracing::debug!("Nobody waits for what was compiled");
                }
            }
        };
        std::thread::Builder::new().name("wasm-compile".to_owned()).spawn(work)?;
        Ok(Self { jobs })
    }

    /// Compiles, in its turn.
    pub(super) async fn compile(&self, wasm: Vec<u8>) -> Result<Compiled, Refused> {
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

fn compile(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Compiled, Refused> {
    if wasm.starts_with(CORE_MODULE) {
        return Err(Refused::NotAComponent("a core WebAssembly module"));
    }
    if !wasm.starts_with(COMPONENT) {
        let found = if wasm.is_empty() { "an empty file" } else { "something else than WebAssembly" };
        return Err(Refused::NotAComponent(found));
    }
    let component =
        Component::from_binary(engine, wasm).map_err(|error| Refused::Compile(format!("{error:#}")))?;
    Ok(Compiled { component, digest: digest(wasm) })
}
