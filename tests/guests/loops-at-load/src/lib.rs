//! Never answers when the host asks what it takes.

use mailroom_guest::{Handler, Message, Stop, Subscription};

struct LoopsAtLoad;

impl Handler for LoopsAtLoad {
    fn subscriptions() -> Vec<Subscription> {
        loop {
            std::hint::black_box(());
        }
    }

    fn handle(_: Message) -> Result<(), Stop> {
        Ok(())
    }
}

mailroom_guest::export!(LoopsAtLoad);
