//! The guests' clock: it ticks while a guest runs, and sleeps while none does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::Thread;
use std::time::Duration;

/// Interval between ticks: a deadline is kept to this.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Number of ticks without a call after which it sleeps: waking it for each quick call would cost more than
/// the call.
const QUIET_TICKS: u32 = 10;

/// The clock's thread; it ends with this.
pub(super) struct Clock {
    thread: Thread,
    seen: Arc<Seen>,
    alive: Option<mpsc::Sender<()>>,
}

/// State that the thread and the callers share.
#[derive(Default)]
struct Seen {
    calls: AtomicUsize,
    asleep: AtomicBool,
}

/// A call under way: the clock ticks as long as there is one.
pub(super) struct Ticking<'c>(&'c Clock);

impl Clock {
    /// Starts the thread, which calls `tick`. A thread and not a task: a guest that computes may hold every
    /// worker of a runtime.
    pub(super) fn start(tick: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let seen = Arc::new(Seen::default());
        let of_thread = Arc::clone(&seen);
        let (alive, ended) = mpsc::channel::<()>();
        let run = move || {
            let none = || of_thread.calls.load(Ordering::SeqCst) == 0;
            let mut quiet = 0;
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                if !none() {
                    quiet = 0;
                    tick();
                    continue;
                }
                quiet += 1;
                if quiet < QUIET_TICKS {
                    continue;
                }
                // A call that begins from here on wakes the thread up. So does the end.
                of_thread.asleep.store(true, Ordering::SeqCst);
                if none() {
                    std::thread::park();
                }
                of_thread.asleep.store(false, Ordering::SeqCst);
                quiet = 0;
            }
        };
        let thread = std::thread::Builder::new().name("wasm-epoch".to_owned()).spawn(run)?;
        Ok(Self { thread: thread.thread().clone(), seen, alive: Some(alive) })
    }

    /// A call begins: the first tick comes within twice [`TICK`].
    pub(super) fn call(&self) -> Ticking<'_> {
        self.seen.calls.fetch_add(1, Ordering::SeqCst);
        if self.seen.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(self)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        drop(self.alive.take());
        self.thread.unpark();
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.seen.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn it_ticks_while_a_call_is_under_way_and_only_then() {
        let (ticked, ticks) = channel();
        let clock = Clock::start(move || ticked.send(()).unwrap()).unwrap();
        assert_eq!(ticks.recv_timeout(5 * TICK), Err(RecvTimeoutError::Timeout));
        for _ in 0..3 {
            let (first, second) = (clock.call(), clock.call());
            drop(first);
            for _ in 0..3 {
                assert_eq!(ticks.recv_timeout(LONG), Ok(()));
            }
            drop(second);
            // The one that was under way may still come.
            while ticks.recv_timeout(5 * TICK).is_ok() {}
        }
        drop(clock);
        assert_eq!(ticks.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected), "the thread has ended");
    }
}
