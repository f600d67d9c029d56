//! A handler that also imports an interface which the host does not know.

use mailroom_guest::{Handler, Message, Stop, Subscription};

use crate::stranger::things::oracle;

wit_bindgen::generate!({ path: "wit", world: "seeker" });

struct UnknownImport;

impl Handler for UnknownImport {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("unknown-import").binary()]
    }

    fn handle(_: Message) -> Result<(), Stop> {
        Err(Stop::fail(format!("the oracle said {}", oracle::answer())).into())
    }
}

mailroom_guest::export!(UnknownImport);
