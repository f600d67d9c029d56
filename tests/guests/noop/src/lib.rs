//! Completes every message and looks at none: what is left of a call is what calling costs.

use mailroom_guest::{Handler, Message, Stop, Subscription};

struct Noop;

impl Handler for Noop {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("noop").binary()]
    }

    fn handle(_: Message) -> Result<(), Stop> {
        Ok(())
    }
}

mailroom_guest::export!(Noop);
