//! Fails on every message, with a code of its own.

use mailroom_guest::{Handler, Message, Stop, Subscription};

struct AlwaysFails;

impl Handler for AlwaysFails {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("always-fails").binary()]
    }

    fn handle(_: Message) -> Result<(), Stop> {
        Err(Stop::fail("this handler always fails").code("always").into())
    }
}

mailroom_guest::export!(AlwaysFails);
