//! A component for wasmCloud, from the WIT of its own: it adds up amounts, and publishes the sum to `totals`, or where
//! the message wants its answer.

use crate::exports::wasmcloud::messaging::handler::{BrokerMessage, Guest};
use crate::wasi::keyvalue::store;
use crate::wasi::logging::logging::{Level, log};
use crate::wasmcloud::messaging::consumer;

wit_bindgen::generate!({ path: "wit", world: "echo", generate_all });

struct Echo;

impl Guest for Echo {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let order: serde_json::Value =
            serde_json::from_slice(&message.body).map_err(|error| error.to_string())?;
        if order["asks"] == true {
            consumer::request("totals", b"?", 1_000)?;
        }
        let amount = order["amount_cents"].as_i64().ok_or("no amount")?;
        let bucket = store::open("default").map_err(|error| format!("{error:?}"))?;
        let kept = bucket.get("total").map_err(|error| format!("{error:?}"))?.unwrap_or_default();
        let total = String::from_utf8_lossy(&kept).parse().unwrap_or(0) + amount;
        bucket.set("total", total.to_string().as_bytes()).map_err(|error| format!("{error:?}"))?;
        log(Level::Info, "", &format!("total {total} after {}", message.subject));
        let subject = message.reply_to.unwrap_or_else(|| "totals".to_owned());
        consumer::publish(&BrokerMessage { subject, body: total.to_string().into_bytes(), reply_to: None })
    }
}

export!(Echo);
