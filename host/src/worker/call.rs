//! Calling a guest, on a runtime of the guests' own: database, Kafka and timers do not wait for them.
//!
//! Its threads are one fewer than cores (`worker.threads`), since the guests' own queue does not decide how long others
//! wait, but the cores do: with a thread for every core, four calls that loop leave none to the host, to Postgres and
//! to Kafka, and the slowest percent of a neighbour's messages took 6.7 times as long as in quiet. `docs/benchmark.md`
//! has what it takes now.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use mailroom_core::handler_machine::command::{self, Begin};
use mailroom_core::ids::Lease;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{Form, Manifest};
use crate::db::Db;
use crate::handler::Component;
use crate::inbox;
use crate::ingest::matching;
use crate::message::Message;
use crate::pipeline::outcome::{self, End, Usage};
use crate::settle::StateView;

/// Number of calls that no host reaches.
const PLACES: usize = 1 << 16;

/// The guests' runtime. The last one to go ends it, without waiting for guests.
#[derive(Debug, Clone)]
pub(crate) struct Guests {
    pub(super) handle: Handle,
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
) -> Result<bool, crate::db::DbError> {
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
