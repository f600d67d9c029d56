//! Calling a guest, on a runtime of the guests' own: database, Kafka and timers do not wait for them.

use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

use super::entry::Key;
use super::queues::Started;
use crate::config::Form;
use crate::handler::Component;
use crate::ingest::matching;
use crate::message::Message;
use crate::pipeline::outcome::{Called, End, Usage};
use crate::settle::StateView;

/// The guests' runtime. The last one to go ends it, without waiting for guests.
#[derive(Debug, Clone)]
pub(crate) struct Guests {
    handle: Handle,
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
pub(super) struct Ended {
    pub(super) key: Key,
    pub(super) call: u64,
    pub(super) message: Message,
    pub(super) called: Called,
}

impl Guests {
    /// A runtime with a thread a core.
    ///
    /// # Errors
    /// Where the system gives no threads.
    pub(crate) fn new() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("guests").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), _runtime: Arc::new(Ending(Some(runtime))) })
    }

    /// Calls the component and waits for its end, which comes within its limits.
    pub(super) async fn call(&self, component: Arc<Component>, started: Started, fresh: StateView) -> Ended {
        let Started { key, entry, state, call } = started;
        let message = Arc::new(entry.message);
        let form = matching::first(component.subscriptions(), &message).map_or(Form::Binary, |of| of.form);
        let digest = Arc::clone(component.digest());
        let state = state.unwrap_or_else(|| fresh.clone());
        let running = Arc::clone(&message);
        let called = self.handle.spawn(async move { component.call(&running, form, state).await }).await;
        let called = called.unwrap_or_else(|error| {
            // A bug of the host, not of the guest: the message waits, and the log has the panic.
            tracing::error!(%error, message.id = %message.id, "A call ended without an answer");
            let end = End::Unavailable("the host failed while the handler ran".to_owned());
            Called {
                end,
                outgoing: Vec::new(),
                state: fresh,
                last_output: None,
                digest,
                usage: Usage::default(),
            }
        });
        let message = Arc::try_unwrap(message).unwrap_or_else(|shared| (*shared).clone());
        Ended { key, call, message, called }
    }
}
