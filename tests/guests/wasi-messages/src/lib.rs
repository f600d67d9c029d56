//! A component for `wasi:messaging`: it sends what it gets to the topic that its payload names, with what it was told
//! of the message as metadata; `reply` answers, `request` asks, `hoard` makes messages without end.

use crate::exports::wasi::messaging::incoming_handler::{Error, Guest, Message};
use crate::wasi::messaging::types::Client;
use crate::wasi::messaging::{producer, request_reply};

wit_bindgen::generate!({ path: "wit", world: "relabel", generate_all });

struct Relabel;

impl Guest for Relabel {
    fn handle(message: Message) -> Result<(), Error> {
        let text = String::from_utf8(message.data()).map_err(|error| Error::Other(error.to_string()))?;
        let client = Client::connect("default")?;
        if text == "hoard" {
            let hoard: Vec<Message> = (0..900).map(|_| Message::new(&vec![0; 1 << 20])).collect();
            return Err(Error::Other(format!("{} were made", hoard.len())));
        }
        if text == "request" {
            return request_reply::request(&client, "out", &message, None).map(drop);
        }
        let answer = Message::new(text.to_uppercase().as_bytes());
        let _ = answer.set_content_type(&message.content_type().unwrap_or_default());
        let _ = answer.add_metadata("from", &message.topic().unwrap_or_default());
        for (key, value) in message.metadata().unwrap_or_default() {
            let _ = answer.add_metadata(&format!("was-{key}"), &value);
        }
        if text == "reply" {
            return request_reply::reply(&message, answer);
        }
        producer::send(&client, &text, answer)
    }
}

export!(Relabel);
