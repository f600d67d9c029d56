//! The guests' clock: it ticks while a guest runs, and sleeps while none does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::Thread;
use std::time::Duration;

/// How often it ticks: a deadline is kept to this.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The clock's thread; it ends with this.
pub(super) struct Clock {
    thread: Thread,
    calls: Arc<AtomicUsize>,
    alive: Option<mpsc::Sender<()>>,
}

/// A call under way: the clock ticks as long as there is one.
pub(super) struct Ticking<'c>(&'c Clock);

impl Clock {
    /// Starts the thread, which calls `tick`. A thread and not a task: a guest that computes may hold every
    /// worker of a runtime.
    pub(super) fn start(tick: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let calls = Arc::new(AtomicUsize::new(0));
        let running = Arc::clone(&calls);
        let (alive, ended) = mpsc::channel::<()>();
        let run = move || {
            loop {
                let idle = running.load(Ordering::SeqCst) == 0;
                let wait = if idle { Duration::ZERO } else { TICK };
                if ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                if idle {
                    // A call that began since is not missed: its wake-up is kept. Nor is the end.
                    std::thread::park();
                } else {
                    tick();
                }
            }
        };
        let thread = std::thread::Builder::new().name("wasm-epoch".to_owned()).spawn(run)?;
        Ok(Self { thread: thread.thread().clone(), calls, alive: Some(alive) })
    }

    /// A call begins: the first tick comes within [`TICK`].
    pub(super) fn call(&self) -> Ticking<'_> {
        if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
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
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
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
