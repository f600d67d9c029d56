//! A worker's calls of guests, on a runtime of the guests' own: database, Kafka and timers do not wait for them.
//!
//! Threads of that runtime are one fewer than cores (`worker.threads`), since the guests' own queue does not decide how long others
//! wait, but the cores do: with a thread for every core, four calls that loop leave none to the host, to Postgres and
//! to Kafka, and the slowest percent of a neighbour's messages took 6.7 times as long as in quiet. `docs/benchmark.md`
//! has what it takes now.
//!
//! Waking a thread costs as much as a quick call: calls that begin together share tasks, and that one ended is told at
//! once but where another is about to begin in its place: then some are told together.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use mailroom_core::handler_machine::command::{self, Begin};
use mailroom_core::ids::Lease;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::{Form, Manifest};
use crate::db::{Db, DbError};
use crate::handler::Component;
use crate::inbox;
use crate::ingest::matching;
use crate::message::Message;
use crate::pipeline::outcome::{self, End, Usage};
use crate::settle::StateView;

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

/// Number of calls that no host reaches.
const PLACES: usize = 1 << 16;

/// The guests' runtime. The last one to go ends it, without waiting for guests.
#[derive(Debug, Clone)]
pub(crate) struct Guests {
    handle: Handle,
    /// Places, of which a call has one and a message that must run alone has all.
    places: Arc<Semaphore>,
    _runtime: Arc<Ending>,
}

#[derive(Debug)]
struct Ending(Option<Runtime>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A call that the machine wants made.
pub(super) type Call = command::Call<StateView>;

/// A call that ended.
#[derive(Debug)]
pub(super) struct Finished {
    /// The call, without the state that it was given.
    pub(super) call: Call,
    pub(super) result: CallResult,
}

/// Result of a call.
#[derive(Debug)]
pub(super) enum CallResult {
    /// The handler was called.
    Called(Box<outcome::Called>),
    /// The row is no longer as the message has it, so nobody was called.
    RowChanged,
    /// The handler was never called, for this reason.
    NotCalled(String),
}

impl Guests {
    /// Makes a runtime with so many threads.
    ///
    /// # Errors
    /// Where the system gives no threads.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads).thread_name("guests").enable_all().build()?;
        let (handle, places) = (runtime.handle().clone(), Arc::new(Semaphore::new(PLACES)));
        Ok(Self { handle, places, _runtime: Arc::new(Ending(Some(runtime))) })
    }

    /// Gives the runtime for what else runs of guests.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits for a place among the calls of this process, or for all of them where a message must run alone: what dies
    /// then is its doing.
    async fn place(&self, begin: Begin) -> Result<OwnedSemaphorePermit, NotBegun> {
        let wanted = if begin == Begin::Alone { u32::try_from(PLACES).unwrap_or(u32::MAX) } else { 1 };
        let place = Arc::clone(&self.places).acquire_many_owned(wanted).await;
        place.map_err(|error| NotBegun::Away(error.to_string()))
    }

    /// Calls the component and waits for its end, which comes within its limits.
    pub(super) async fn call(&self, db: &Db, component: &Component, mut call: Call) -> Finished {
        let message = Arc::clone(&call.message);
        let form = matching::first(component.subscriptions(), &message).map_or(Form::Binary, |of| of.form);
        let fresh =
            || StateView::new(Some(db.clone()), Arc::clone(&message.consumer_group), message.key.clone());
        let mut state = call.state.take().unwrap_or_else(fresh);
        let place = match self.place(call.begin).await {
            Ok(place) => begin(db, component.manifest(), &call, &mut state).await.map(|()| place),
            Err(error) => Err(error),
        };
        let result = match place {
            Ok(_place) => {
                let called = AssertUnwindSafe(component.call(&message, form, state)).catch_unwind().await;
                if call.begin == Begin::Alone {
                    came_back(db, &call).await;
                }
                CallResult::Called(Box::new(called.unwrap_or_else(|_| {
                    // A bug of the host, not of the guest: the message waits, and standard error has the panic.
                    tracing::error!(message.id = %message.id, "A call ended without an answer");
                    unanswered(component, fresh())
                })))
            }
            Err(NotBegun::RowChanged) => CallResult::RowChanged,
            Err(NotBegun::Away(reason)) => CallResult::NotCalled(reason),
        };
        Finished { call, result }
    }
}

/// Notes before the next call has a place that this one came back: what kills the process then is not blamed on it.
/// Where that fails its settlement says it, a moment later.
async fn came_back(db: &Db, call: &Call) {
    if let Err(error) = inbox::mark_came_back(db, call.lease, &call.message).await {
        tracing::debug!(message.id = %call.message.id, %error, "A message came back that ran alone");
    }
}

/// Reason for which a call did not begin.
enum NotBegun {
    /// The row is no longer as the message has it, or its lane another's.
    RowChanged,
    /// Something that it needs is away.
    Away(String),
}

/// Notes what is to be noted before the handler is called.
async fn begin(db: &Db, manifest: &Manifest, call: &Call, state: &mut StateView) -> Result<(), NotBegun> {
    let (lease, message) = (call.lease, &*call.message);
    let marked = match call.begin {
        Begin::Free => return Ok(()),
        Begin::Once => hand_over_once(db, manifest, (lease, message), state).await,
        Begin::Alone => {
            tracing::warn!(
                message.id = %message.id,
                "Message {} lost {} deliveries with their hosts; it runs alone", message.id, message.crashes
            );
            inbox::mark_lone(db, lease, message).await
        }
    };
    match marked {
        Ok(true) => Ok(()),
        Ok(false) => Err(NotBegun::RowChanged),
        Err(error) => Err(NotBegun::Away(error.to_string())),
    }
}

/// Notes that a message is begun that may be begun once. Its state is read before: while Postgres is away nothing is
/// handed over, and nothing is spent. Where the answer is lost it may be noted all the same; then this call or the
/// next of this lane's owner notes it again, since nobody was called.
async fn hand_over_once(
    db: &Db,
    manifest: &Manifest,
    (lease, message): (Lease, &Message),
    state: &mut StateView,
) -> Result<bool, DbError> {
    if manifest.grants.state {
        state.begin_call(manifest.limits.state_values, manifest.limits.state_bytes);
        state.load_all().await?;
    }
    inbox::mark_begun(db, lease, message).await
}

/// The end of a call that gave none.
fn unanswered(component: &Component, state: StateView) -> outcome::Called {
    outcome::Called {
        end: End::Unavailable("the host failed while the handler ran".to_owned()),
        outgoing: Vec::new(),
        state,
        sql: None,
        last_output: None,
        digest: Arc::clone(component.digest()),
        usage: Usage::default(),
    }
}
