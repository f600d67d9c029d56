//! Native handlers: Rust in the host's own process, under the same grants and with the same effects as
//! guests. There is no sandbox: fuel and memory are not limited, and the deadline ends what waits but
//! cannot end what computes.

mod call;
mod message;
mod outgoing;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout_at};

pub use call::{Call, State};
pub use message::Message;
pub use outgoing::Outgoing;

use super::compile::digest;
use super::component::{Code, Component, Ran};
use super::effects::Effects;
use super::guest;
use super::refused::Refused;
use super::reply::{self, Failure};
use super::subscription::Subscription;
use crate::config::{CallLimits, HandlerName, Manifest};
use crate::message::{LAST_ERROR_BYTES_MAX, Message as Row, bounded};
use crate::pipeline::outcome::{End, Fault, Outcome, Usage};

/// A message handler in Rust that runs inside the host's process.
///
/// What a call publishes and stores through its [`Call`] commits in one Postgres transaction with the
/// message's being done, and only where the call ends with [`Outcome::Completed`]. The same message may
/// be handled more than once before that: derive new ids from [`Message::id`], never from the clock or
/// from chance.
///
/// Calls of different keys run at once, as many as the manifest's `concurrency` says.
pub trait Handler: Send + Sync + 'static {
    /// The version of this code, for example `env!("CARGO_PKG_VERSION")`. With the handler's name it makes
    /// the digest that rows and `mailroom status` show: say another one whenever the code changes.
    fn version(&self) -> &str;

    /// Returns which messages it takes. Asked once, at the start; `[subscribe]` in its manifest overrides the
    /// answer.
    fn subscriptions(&self) -> Vec<Subscription>;

    /// Handles one delivery of a message.
    ///
    /// A panic is a fault like a guest's trap: counted, tried again with backoff, the host goes on. A call
    /// that waits past its deadline is dropped where it waits. One that computes holds a thread until it
    /// gives it back and has failed then: leave long computations to a thread of their own
    /// (`tokio::task::spawn_blocking`).
    ///
    /// # Errors
    /// Any error at all: it costs an attempt, and the call's effects are dropped.
    fn handle(
        &self,
        message: Message<'_>,
        call: &mut Call,
    ) -> impl Future<Output = Result<Outcome, Failure>> + Send;
}

type Reply<'c> = Pin<Box<dyn Future<Output = Result<Outcome, Failure>> + Send + 'c>>;

/// A handler of any type.
trait AnyHandler: Send + Sync {
    fn handle<'c>(&'c self, message: Message<'c>, call: &'c mut Call) -> Reply<'c>;
}

impl<H: Handler> AnyHandler for H {
    fn handle<'c>(&'c self, message: Message<'c>, call: &'c mut Call) -> Reply<'c> {
        Box::pin(Handler::handle(self, message, call))
    }
}

/// A native handler's code.
#[derive(Clone)]
pub(super) struct Native(Arc<dyn AnyHandler>);

/// Asks it what it subscribes to.
pub(super) fn describe(
    name: &HandlerName,
    mut manifest: Arc<Manifest>,
    handler: impl Handler,
) -> Result<Component, Refused> {
    let said = catch_unwind(AssertUnwindSafe(|| (handler.subscriptions(), handler.version().to_owned())));
    let (declared, version) = said.map_err(|panic| Refused::SubscriptionsFaulted(fault(panic.as_ref())))?;
    if manifest.version.is_none() && !version.is_empty() {
        Arc::make_mut(&mut manifest).version = Some(version.clone());
    }
    // No name has a line break in it.
    let digest = digest(format!("native\n{name}\n{version}").as_bytes());
    Component::new(digest, Code::Native(Native(Arc::new(handler))), declared, manifest)
}

impl Native {
    /// Handles one message; `effects` makes the call's own, given its deadline.
    pub(super) async fn call(
        &self,
        limits: &CallLimits,
        message: &Row,
        effects: impl FnOnce(Instant) -> Effects,
    ) -> Ran {
        let started = Instant::now();
        let deadline = started + limits.deadline;
        let mut call = Call::new(effects(deadline));
        // What is done before the first wait can panic as well.
        let handled = async { self.0.handle(Message::new(message), &mut call).await };
        let handled = AssertUnwindSafe(handled).catch_unwind();
        // As for guests: Postgres' own slowness is told first.
        let replied = timeout_at(guest::timeout_at(deadline), handled).await;
        let late = Instant::now() >= guest::timeout_at(deadline);
        let took = started.elapsed();
        let (effects, unavailable) = call.into_parts();
        let end = match (unavailable, replied) {
            (Some(why), _) => End::Unavailable(why),
            (None, Ok(Err(panic))) => End::Faulted(fault(panic.as_ref())),
            (None, Ok(Ok(reply))) if !late => reply::end(reply),
            (None, Ok(Ok(_)) | Err(_)) => End::Faulted(Fault::Deadline {
                limit: limits.deadline,
                backtrace: String::new(),
                awaited: None,
            }),
        };
        Ran { end, effects, last_output: None, usage: Usage { took, ..Usage::default() } }
    }
}

/// A panic's own words. Where it happened is on standard error, where panics go.
fn fault(panic: &(dyn Any + Send)) -> Fault {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("with no words");
    Fault::Trap {
        reason: bounded(&format!("panicked: {words}"), LAST_ERROR_BYTES_MAX),
        backtrace: String::new(),
    }
}
