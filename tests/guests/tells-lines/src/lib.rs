//! Panics on every message; it is built with the names of its files and lines.

use mailroom_guest::{Handler, Message, Stop, Subscription};

struct TellsLines;

impl Handler for TellsLines {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("tells-lines")]
    }

    fn handle(_: Message) -> Result<(), Stop> {
        panic!("see where")
    }
}

mailroom_guest::export!(TellsLines);
