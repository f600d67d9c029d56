//! A call as a test makes it: its clocks, its randomness and the answers to its HTTP requests are the test's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// Time by which a look at a clock moves it on: code that waits for a later time gets there.
const TICK: Duration = Duration::from_micros(1);
/// Random bytes before they repeat.
const RANDOM_BYTES: usize = 1 << 16;

/// World that a rehearsed call finds in place of the one outside.
#[derive(Debug, Clone)]
pub(crate) struct Rehearsal {
    /// Time that its clocks show first, since 1970-01-01T00:00:00Z.
    pub(crate) now: Duration,
    /// Seed from which its random bytes follow.
    pub(crate) seed: u64,
    /// Answers to its HTTP requests, in their order.
    pub(crate) answers: VecDeque<HttpAnswer>,
}

/// The answer to one HTTP request.
#[derive(Debug, Clone)]
pub(crate) struct HttpAnswer {
    /// The request that it answers: `POST https://api.example.com/charges?dry=1`.
    pub(crate) request: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Rehearsal {
    /// Puts the clocks and the randomness in place of the real ones.
    pub(super) fn arrange(&self, wasi: &mut WasiCtxBuilder) {
        let clock = Clock(Arc::new(AtomicU64::new(nanoseconds(self.now))));
        wasi.wall_clock(clock.clone()).monotonic_clock(clock);
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut bytes = || Deterministic::new((0..RANDOM_BYTES).map(|_| random.u8(..)).collect());
        wasi.secure_random(bytes()).insecure_random(bytes());
        wasi.insecure_random_seed(u128::from(self.seed));
    }
}

/// Both clocks of a call.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn look(&self) -> u64 {
        self.0.fetch_add(nanoseconds(TICK), Ordering::Relaxed)
    }
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        TICK
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.look())
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        nanoseconds(TICK)
    }

    fn now(&self) -> u64 {
        self.look()
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
