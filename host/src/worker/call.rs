//! Calling a guest, on a runtime of the guests' own: database, Kafka and timers do not wait for them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::entry::Key;
use super::queues::Started;
use crate::config::{Ack, Form, Manifest};
use crate::db::Db;
use crate::handler::Component;
use crate::inbox;
use crate::ingest::matching;
use crate::message::Message;
use crate::pipeline::crashes::runs_alone;
use crate::pipeline::outcome::{self, End, Usage};
use crate::settle::StateView;

/// More calls than run at once in any host.
const PLACES: usize = 1 << 16;

/// The guests' runtime. The last one to go ends it, without waiting for guests.
#[derive(Debug, Clone)]
pub(crate) struct Guests {
    pub(super) handle: Handle,
    /// A call has one; a message that must run alone has all.
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

/// A call that ended.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) key: Key,
    pub(super) call: u64,
    pub(super) message: Arc<Message>,
    pub(super) outcome: outcome::Called,
    /// Whether the outcome's state is what it was before the call, and what the call wrote; else it is lost.
    pub(super) keeps_state: bool,
}

impl Guests {
    /// A runtime with so many threads.
    ///
    /// # Errors
    /// Where the system gives no threads.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads).thread_name("guests").enable_all().build()?;
        let (handle, places) = (runtime.handle().clone(), Arc::new(Semaphore::new(PLACES)));
        Ok(Self { handle, places, _runtime: Arc::new(Ending(Some(runtime))) })
    }

    /// For what else runs of guests.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// A place among the calls of this process, or all of them for a message that must run alone: what
    /// dies then is its doing.
    async fn place(&self, db: &Db, token: i64, message: &Message) -> Result<OwnedSemaphorePermit, String> {
        let alone = runs_alone(message.crashes);
        let wanted = if alone { u32::try_from(PLACES).unwrap_or(u32::MAX) } else { 1 };
        let place =
            Arc::clone(&self.places).acquire_many_owned(wanted).await.map_err(|error| error.to_string())?;
        if alone {
            tracing::warn!(
                message.id = %message.id,
                "Message {} lost {} deliveries with their hosts; it runs alone", message.id, message.crashes
            );
            let marked = inbox::mark_lone(db, token, message).await.map_err(|error| error.to_string())?;
            if !marked {
                return Err("its row changed".to_owned());
            }
        }
        Ok(place)
    }

    /// Calls the component and waits for its end, which comes within its limits.
    pub(super) async fn call(
        &self,
        db: &Db,
        component: &Component,
        token: i64,
        started: Started,
        fresh: StateView,
    ) -> Called {
        let Started { key, entry, state, call, parked: _ } = started;
        let mut message = entry.message;
        let form = matching::first(component.subscriptions(), &message).map_or(Form::Binary, |of| of.form);
        let mut state = state.unwrap_or_else(|| fresh.clone());
        let manifest = component.manifest();
        let once = manifest.ack == Ack::AtMostOnce;
        let place = match self.place(db, token, &message).await {
            Ok(place) if once => {
                hand_over_once(db, manifest, token, &message, &mut state).await.map(|()| place)
            }
            place => place,
        };
        let uncalled = |end, state| outcome::Called {
            end,
            outgoing: Vec::new(),
            state,
            sql: None,
            last_output: None,
            digest: Arc::clone(component.digest()),
            usage: Usage::default(),
        };
        let called = match place {
            Ok(_place) => AssertUnwindSafe(component.call(&message, form, state)).catch_unwind().await,
            Err(reason) => Ok(uncalled(End::NotCalled(reason), state)),
        };
        let keeps_state = called.is_ok();
        let outcome = called.unwrap_or_else(|_| {
            // A bug of the host, not of the guest: the message waits, and standard error has the panic.
            tracing::error!(message.id = %message.id, "A call ended without an answer");
            uncalled(End::Unavailable("the host failed while the handler ran".to_owned()), fresh)
        });
        if once && !matches!(outcome.end, End::NotCalled(_)) {
            Arc::make_mut(&mut message).begun = true;
        }
        Called { key, call, message, outcome, keeps_state }
    }
}

/// Notes that a message is begun that may be begun once. Its state is read before: while Postgres is away nothing is
/// handed over, and nothing is spent.
async fn hand_over_once(
    db: &Db,
    manifest: &Manifest,
    token: i64,
    message: &Message,
    state: &mut StateView,
) -> Result<(), String> {
    if manifest.grants.state {
        state.begin_call(manifest.limits.state_values, manifest.limits.state_bytes);
        state.load_all().await.map_err(|error| error.to_string())?;
    }
    match inbox::mark_begun(db, token, message).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("its row changed".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
