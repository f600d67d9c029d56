//! The child process that compiles one component: this binary again, with `compile-component` as its command. It reads
//! the component from standard input, writes machine code to standard output, and bounds itself before it reads.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, nice, setrlimit};

use super::NICENESS;
use crate::handler::engine::code_config;

/// The command by which the host starts the child.
pub(crate) const COMMAND: &str = "compile-component";

/// Limits of one compilation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompileLimits {
    /// Processor time.
    pub(crate) time: Duration,
    /// Bytes of memory beyond those of an idle process.
    pub(crate) memory: u64,
    /// Threads that compile its functions.
    pub(crate) threads: usize,
}

/// Reason why nothing was compiled.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0:#}")]
    Compile(wasmtime::Error),
}

/// All that the child does. What is wrong goes to standard error.
pub(crate) fn run(limits: CompileLimits) -> ExitCode {
    match bounded(limits).map_err(Failed::Io).and_then(|()| compile(limits.threads)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody to tell: whoever started this has gone.
            writeln!(io::stderr(), "{error}").map_or(ExitCode::FAILURE, |()| ExitCode::FAILURE)
        }
    }
}

/// Sets limits that the system keeps: the processor time in whole seconds, and the address space beyond what the
/// program itself takes.
fn bounded(limits: CompileLimits) -> io::Result<()> {
    // Where it cannot be had, compiling is only less polite.
    let _polite = nice(NICENESS);
    let seconds = limits.time.as_secs().max(1);
    let memory = address_space()?.saturating_add(limits.memory);
    // The hard limit of time kills without saying why, so that it comes later.
    for (resource, soft, hard) in
        [(Resource::Core, 0, 0), (Resource::Cpu, seconds, seconds + 5), (Resource::As, memory, memory)]
    {
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })?;
    }
    Ok(())
}

/// Bytes of address space that this process has already.
fn address_space() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = size.and_then(|size| size.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("/proc/self/status has no VmSize"))
}

/// Compiles standard input to standard output; the number of threads comes from the environment, which
/// whoever started this has set.
fn compile(threads: usize) -> Result<(), Failed> {
    let mut config = code_config();
    config.parallel_compilation(threads > 1);
    let engine = wasmtime::Engine::new(&config).map_err(Failed::Compile)?;
    let mut wasm = Vec::new();
    io::stdin().lock().read_to_end(&mut wasm)?;
    let code = engine.precompile_component(&wasm).map_err(Failed::Compile)?;
    let mut out = io::stdout().lock();
    Ok(out.write_all(&code).and_then(|()| out.flush())?)
}
