//! Compiling on a thread of this process: one component after another, at low priority, and without limits. For
//! programs that embed the host, whose binary cannot be told to compile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use tokio::sync::oneshot;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::{NICENESS, Wasm};
use crate::handler::refused::Refused;

struct Job {
    wasm: Wasm,
    reply: oneshot::Sender<Result<Component, Refused>>,
}

/// The compiler's thread; it ends with this.
pub(super) struct Thread(mpsc::Sender<Job>);

impl Thread {
    pub(super) fn start(engine: Engine) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
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
                if reply.send(compiled).is_err() {
                    tracing::debug!("Nobody waits for what was compiled");
                }
            }
        };
        std::thread::Builder::new().name("wasm-compile".to_owned()).spawn(work)?;
        Ok(Self(jobs))
    }

    pub(super) async fn compile(&self, wasm: Wasm) -> Result<Component, Refused> {
        let (reply, compiled) = oneshot::channel();
        let gone = || Refused::Compile("the compiler's thread has ended; restart the host".to_owned());
        self.0.send(Job { wasm, reply }).map_err(|_| gone())?;
        compiled.await.map_err(|_| gone())?
    }
}

fn compile(engine: &Engine, wasm: &[u8]) -> Result<Component, Refused> {
    Component::from_binary(engine, wasm).map_err(|error| Refused::by_compiler(format!("{error:#}")))
}
