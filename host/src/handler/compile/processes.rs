//! Compiling in child processes: so many at once, each with limits of time and memory.

use std::io;
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::child::{COMMAND, CompileLimits};
use crate::handler::refused::Refused;
use crate::message::{LAST_ERROR_BYTES_MAX, bounded};

/// True if this process's own binary knows [`COMMAND`].
static CAN_COMPILE: AtomicBool = AtomicBool::new(false);

/// This process's binary, also where the file was replaced since it was started.
const THIS_BINARY: &str = "/proc/self/exe";
/// Nearly every component needs less processor time.
const QUICK: Duration = Duration::from_secs(2);
/// Components that are compiled at once and need no more than [`QUICK`], and those that may need all their time.
const QUICK_PLACES: usize = 2;
const PLACES: usize = 2;
/// Factor of the wall-clock time: on a busy machine a child gets less than a processor; one that gets less
/// than a hundredth is tried again later.
const WALL_CLOCK_FACTOR: u32 = 100;
/// Words with which Rust's allocator says that there is no more.
const OUT_OF_MEMORY: [&str; 2] = ["memory allocation of", "Cannot allocate memory"];

/// The variable that says how many threads compile.
const THREADS: &str = "RAYON_NUM_THREADS";
/// More of them take memory, and are rarely busy: few components have so many large functions.
const THREADS_MAX: usize = 8;

/// Pace at which components are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompilePace {
    /// Compiling beside messages: on one thread each, and what is quick before what is not.
    Background,
    /// Compiling for a person who waits: on all cores.
    Foreground,
}

/// Says that this process's binary knows the command by which children are started.
pub(crate) fn this_binary_compiles() {
    CAN_COMPILE.store(true, Ordering::Relaxed);
}

/// Compilers of one engine, as processes.
pub(super) struct Processes {
    limits: CompileLimits,
    pace: CompilePace,
    quick: Semaphore,
    places: Semaphore,
}

/// End of a process that compiled nothing.
enum Ended {
    Time,
    Memory,
    Refused(Refused),
}

impl Processes {
    /// `None` where this process is another program that embeds the host.
    pub(super) fn new(limits: CompileLimits, pace: CompilePace) -> Option<Self> {
        let threads = match pace {
            CompilePace::Background => 1,
            CompilePace::Foreground => available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX),
        };
        let limits = CompileLimits { threads, ..limits };
        let new =
            || Self { limits, pace, quick: Semaphore::new(QUICK_PLACES), places: Semaphore::new(PLACES) };
        CAN_COMPILE.load(Ordering::Relaxed).then(new)
    }

    /// The machine code of a component. One that takes long is begun anew among its like, so that however many there
    /// are, the quick ones do not wait for them.
    pub(super) async fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, Refused> {
        let quick = CompileLimits { time: QUICK.min(self.limits.time), ..self.limits };
        let quick = (self.pace == CompilePace::Background).then_some((&self.quick, quick));
        for (places, limits) in quick.into_iter().chain([(&self.places, self.limits)]) {
            let place = places.acquire().await;
            let _place = place.map_err(|error| Refused::Unavailable(error.to_string()))?;
            match self.once(wasm, limits).await {
                Ok(code) => return Ok(code),
                Err(Ended::Time) if limits.time < self.limits.time => {}
                Err(Ended::Time) => break,
                Err(Ended::Memory) => return Err(Refused::CompileMemory(self.limits.memory)),
                Err(Ended::Refused(refused)) => return Err(refused),
            }
        }
        Err(Refused::CompileTime(self.limits.time))
    }

    async fn once(&self, wasm: &[u8], limits: CompileLimits) -> Result<Vec<u8>, Ended> {
        let not_tried = |error: io::Error| {
            Ended::Refused(Refused::Unavailable(format!("no process to compile it in: {error}")))
        };
        let child = start(limits).map_err(not_tried)?;
        let run =
            timeout(limits.time.saturating_mul(WALL_CLOCK_FACTOR), exchange(child, wasm, limits.memory));
        let starved = |_| Ended::Refused(Refused::Unavailable("no processor time to compile it".to_owned()));
        let (status, code, said) = run.await.map_err(starved)?.map_err(not_tried)?;
        if status.success() { Ok(code) } else { Err(ended(status, &said)) }
    }
}

/// Starts a compiler that knows nothing of this process: no variable, no file, and it ends with the wait for
/// it.
fn start(limits: CompileLimits) -> io::Result<Child> {
    Command::new(THIS_BINARY)
        .arg(COMMAND)
        .args(["--seconds", &limits.time.as_secs().max(1).to_string()])
        .args(["--memory", &limits.memory.to_string()])
        .args(["--threads", &limits.threads.to_string()])
        .env_clear()
        .env(THREADS, limits.threads.to_string())
        // The allocator would reserve a gigabyte of address space at once, in KiB.
        .env("MIMALLOC_ARENA_RESERVE", "65536")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // What ends this process from its terminal leaves the child to it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Feeds a child, and returns its end, at most `bytes_max` of its output, and its words on stderr.
async fn exchange(
    mut child: Child,
    wasm: &[u8],
    bytes_max: u64,
) -> io::Result<(ExitStatus, Vec<u8>, String)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        // A child that ended before it read everything says why.
        if let Some(mut stdin) = stdin
            && let Err(error) = stdin.write_all(wasm).await
        {
            tracing::debug!("The compiler's process reads no more: {error}");
        }
    };
    let said_max = u64::try_from(LAST_ERROR_BYTES_MAX).unwrap_or(u64::MAX);
    let ((), code, said) = tokio::join!(feed, read(stdout, bytes_max), read(stderr, said_max));
    let (code, said) = (code?, String::from_utf8_lossy(&said?).into_owned());
    Ok((child.wait().await?, code, said))
}

/// Reads to the end and keeps so much.
async fn read(from: Option<impl AsyncRead + Unpin>, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(bytes_max).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

fn ended(status: ExitStatus, said: &str) -> Ended {
    if OUT_OF_MEMORY.iter().any(|words| said.contains(words)) {
        return Ended::Memory;
    }
    let of_signal = |signal: Signal| status.signal() == Some(signal.as_raw());
    let said = bounded(said, LAST_ERROR_BYTES_MAX);
    Ended::Refused(match status.signal() {
        // Of its own limit.
        Some(_) if of_signal(Signal::XCPU) => return Ended::Time,
        Some(_) if of_signal(Signal::KILL) => {
            let why = "the process that compiled it was killed; the machine may be short of memory";
            Refused::Unavailable(why.to_owned())
        }
        Some(number) => Refused::Compile(format!("the compiler ended by signal {number}: {said}")),
        None => Refused::by_compiler(said),
    })
}
