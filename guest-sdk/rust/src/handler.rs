//! The trait that an author implements, and its export as a component.
//!
//! The export only translates; what an answer means is decided by the host.

use std::marker::PhantomData;

use crate::bindings::exports::mailroom::contract::handler::{Failure, Guest, Outcome};
use crate::{Message, Stop, Subscription};

/// A message handler. Hand it to [`export!`](crate::export).
pub trait Handler {
    /// Returns which messages the handler takes. The host calls it when it loads the component, without any
    /// grants; `[subscribe]` in the handler's manifest overrides the answer.
    fn subscriptions() -> Vec<Subscription>;

    /// Handles one delivery of a message, in a new instance unless the manifest says otherwise.
    ///
    /// # Errors
    /// Any ending other than "completed", as a [`Stop`]: the effects of the call are dropped.
    fn handle(message: Message) -> Result<(), Stop>;
}

/// A handler as the component that the host calls.
#[derive(Debug)]
pub struct Component<H>(PhantomData<H>);

impl<H: Handler> Guest for Component<H> {
    fn subscriptions() -> Vec<Subscription> {
        H::subscriptions()
    }

    fn handle(message: Message) -> Result<Outcome, Failure> {
        match H::handle(message) {
            Ok(()) => Ok(Outcome::Completed),
            Err(stop) => stop.into_answer(),
        }
    }
}

/// Makes a type that implements [`Handler`] the handler of this component, once in a crate:
/// `mailroom_guest::export!(Totals);`. The crate's own page has a whole handler.
#[macro_export]
macro_rules! export {
    ($handler:ty) => {
        const _: () = {
            type Component = $crate::Component<$handler>;
    $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };
    };
}
