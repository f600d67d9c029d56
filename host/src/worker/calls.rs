//! A worker's calls that are under way, on the guests' runtime. Waking a thread costs as much as a quick call:
//! calls that begin together share tasks, and that one ended is told at once but where another is about to
//! begin in its place: then some are told together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::call::{Call, Finished, Guests};
use crate::db::Db;
use crate::handler::Component;

/// Most ends of calls that are told together, and the longest time after the last were told.
const TOGETHER_MAX: usize = 8;
const APART_MAX: Duration = Duration::from_millis(1);

/// Calls of a handler.
pub(super) struct Calls {
    side: Arc<Side>,
    under_way: usize,
    /// Calls that begin with the next [`Calls::go`].
    started: Vec<(Arc<Component>, Call)>,
    threads: usize,
}

/// Part of them that the guests' runtime sees.
struct Side {
    guests: Guests,
    db: Db,
    /// Calls that wait for a thread.
    queued: AtomicUsize,
    ended: Mutex<Ended>,
    told: Notify,
}

struct Ended {
    calls: Vec<Finished>,
    told_at: Instant,
}

impl Calls {
    pub(super) fn new(guests: Guests, db: Db) -> Self {
        let ended = Mutex::new(Ended { calls: Vec::new(), told_at: Instant::now() });
        let threads = guests.handle.metrics().num_workers();
        let side = Side { guests, db, queued: AtomicUsize::new(0), ended, told: Notify::new() };
        Self { side: Arc::new(side), under_way: 0, started: Vec::new(), threads }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way == 0
    }

    /// Counts those that were started and have not ended.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Starts a call of a component.
    pub(super) fn start(&mut self, component: Arc<Component>, call: Call) {
        self.under_way += 1;
        self.started.push((component, call));
    }

    /// Begins those that were started. The calls of a task take turns whenever one waits or gives way.
    pub(super) fn go(&mut self) {
        self.side.queued.fetch_add(self.started.len(), Ordering::SeqCst);
        let of_task = self.started.len().div_ceil(self.threads).clamp(1, TOGETHER_MAX);
        while !self.started.is_empty() {
            let some = self.started.drain(..of_task.min(self.started.len()));
            let calls: FuturesUnordered<_> = some
                .map(|(component, call)| {
                    let side = Arc::clone(&self.side);
                    async move {
                        side.begins();
                        let finished = side.guests.call(&side.db, &component, call).await;
                        side.ended(finished);
                    }
                })
                .collect();
            self.side.guests.handle.spawn(calls.collect::<()>());
        }
    }

    /// Waits for some to end. Cancel safe.
    pub(super) async fn ended(&mut self) -> Vec<Finished> {
        loop {
            let ended = std::mem::take(&mut self.side.lock().calls);
            if !ended.is_empty() {
                self.under_way -= ended.len();
                return ended;
            }
            self.side.told.notified().await;
        }
    }
}

impl Side {
    /// No code that can panic runs under it.
    fn lock(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of ends that waited for this call to begin, if it is the last.
    fn begins(&self) {
        if self.queued.fetch_sub(1, Ordering::SeqCst) == 1 {
            let mut ended = self.lock();
            if !ended.calls.is_empty() {
                ended.told_at = Instant::now();
                self.told.notify_one();
            }
        }
    }

    fn ended(&self, finished: Finished) {
        let mut ended = self.lock();
        ended.calls.push(finished);
        let more_begin = self.queued.load(Ordering::SeqCst) > 0;
        if !more_begin || ended.calls.len() >= TOGETHER_MAX || ended.told_at.elapsed() >= APART_MAX {
            ended.told_at = Instant::now();
            self.told.notify_one();
        }
    }
}
