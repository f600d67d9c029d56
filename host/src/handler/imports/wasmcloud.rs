//! `wasmcloud:messaging/consumer`: a subject is a topic.

use crate::handler::bindings::wasmcloud::wasmcloud::messaging::consumer;
use crate::handler::bindings::wasmcloud::wasmcloud::messaging::types::{self, BrokerMessage};
use crate::handler::effects::PublishError;
use crate::handler::fault::HostUnavailable;
use crate::handler::guest::Guest;
use crate::message::{Header, Outgoing};
use uuid::Uuid;

/// The header that says where an answer is to go.
const REPLY_TO: &str = "reply-to";
/// Longest type of an event.
const EVENT_TYPE_CHARS_MAX: usize = 100;
/// Reason why a guest gets no answer.
pub(super) const NO_REPLIES: &str =
    "mailroom has no replies to wait for: publish, and take the answer as a message of its own";

impl types::Host for Guest {}

impl consumer::Host for Guest {
    async fn request(
        &mut self,
        _subject: String,
        _body: Vec<u8>,
        _timeout_ms: u32,
    ) -> wasmtime::Result<Result<BrokerMessage, String>> {
        Ok(Err(NO_REPLIES.to_owned()))
    }

    async fn publish(&mut self, message: BrokerMessage) -> wasmtime::Result<Result<(), String>> {
        let headers = message.reply_to.into_iter().map(|to| Header::text(REPLY_TO, &to)).collect();
        let published = self.publish_beside(message.subject, message.body, None, headers).await?;
        Ok(published.map_err(|error| error.to_string()))
    }
}

impl Guest {
    /// Publishes what a component of another contract made: with the key of the message in hand, so that order is
    /// kept, and the topic's name for its type.
    pub(super) async fn publish_beside(
        &mut self,
        topic: String,
        payload: Vec<u8>,
        content_type: Option<String>,
        headers: Vec<Header>,
    ) -> wasmtime::Result<Result<(), PublishError>> {
        let message = Outgoing {
            id: Uuid::nil(),
            event_type: topic.chars().take(EVENT_TYPE_CHARS_MAX).collect(),
            topic,
            key: self.in_hand.key.clone(),
            payload: Some(payload),
            content_type,
            headers,
            schema_version: None,
            idempotency_key: None,
            delay: None,
        };
        match self.effects.publish(message).await {
            Ok(_) => Ok(Ok(())),
            Err(PublishError::Unavailable(why)) => Err(HostUnavailable(why).into()),
            Err(refused) => Ok(Err(refused)),
        }
    }
}

/// Returns where an answer to a message is to go.
pub(in crate::handler) fn reply_to(headers: &[Header]) -> Option<String> {
    let header = headers.iter().find(|header| header.is(REPLY_TO))?;
    String::from_utf8(header.value.clone()?).ok()
}
