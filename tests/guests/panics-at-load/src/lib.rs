//! Panics when the host asks what it takes.

use mailroom_guest::{Handler, Message, Stop, Subscription};

struct PanicsAtLoad;

impl Handler for PanicsAtLoad {
    fn subscriptions() -> Vec<Subscription> {
        panic!("this handler panics at load")
    }

    fn handle(_: Message) -> Result<(), Stop> {
        Ok(())
    }
}

mailroom_guest::export!(PanicsAtLoad);
