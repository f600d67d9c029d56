//! Translation between the contract's values and the host's.

use std::time::Duration;

use super::bindings::mailroom::contract::types;
use super::reply::Failure;
use crate::config::Form;
use crate::message::{Header, Message};
use crate::pipeline::outcome::Outcome;

/// One delivery as the guest gets it.
pub(super) fn to_guest(message: &Message, form: Form) -> types::Message {
    types::Message {
        id: message.id.to_string(),
        message_id: message.message_id.clone(),
        event_type: message.event_type.clone(),
        source: message.source.clone(),
        schema_version: message.schema_version.clone(),
        position: types::Position {
            topic: message.topic.to_string(),
            partition: message.partition,
            offset: message.offset,
        },
        key: message.key.clone().map(text_where_utf8),
        payload: message.payload.clone().map(|payload| match form {
            Form::Text => text_where_utf8(payload),
            Form::Binary => types::Data::Binary(payload),
        }),
        content_type: message.content_type.clone(),
        headers: message.headers.iter().map(header).collect(),
        produced_at_ms: message.produced_at_ms,
        correlation_id: message.correlation_id.clone(),
        causation_id: message.causation_id.clone(),
        traceparent: message.traceparent.clone(),
        attempt: message.attempts_made.saturating_add(1),
        max_attempts: message.attempts_max,
        delivery: message.deliveries.saturating_add(1),
    }
}

fn header(header: &Header) -> types::Header {
    types::Header { name: header.name.to_string(), value: header.value.clone().map(text_where_utf8) }
}

fn text_where_utf8(bytes: Vec<u8>) -> types::Data {
    String::from_utf8(bytes).map_or_else(|error| types::Data::Binary(error.into_bytes()), types::Data::Text)
}

/// Guests may send either form; the bytes are what counts.
pub(super) fn bytes(data: types::Data) -> Vec<u8> {
    match data {
        types::Data::Text(text) => text.into_bytes(),
        types::Data::Binary(bytes) => bytes,
    }
}

/// Translates what the guest decided.
pub(super) fn to_host(reply: Result<types::Outcome, types::Failure>) -> Result<Outcome, Failure> {
    match reply {
        Ok(types::Outcome::Completed) => Ok(Outcome::Completed),
        Ok(types::Outcome::Skipped(reason)) => Ok(Outcome::Skipped(reason)),
        Ok(types::Outcome::Rejected(reason)) => Ok(Outcome::Rejected(reason)),
        Ok(types::Outcome::Retry(types::Retry { reason, after_ms, counts })) => {
            Ok(Outcome::Retry { reason, after: after_ms.map(Duration::from_millis), counts })
        }
        Err(types::Failure { message, code, detail }) => Err(Failure { message, code, detail }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_as_text_or_binary() {
        for sent in [b"plain".to_vec(), vec![0xff, 0x00], Vec::new()] {
            assert_eq!(bytes(text_where_utf8(sent.clone())), sent);
        }
        assert!(matches!(text_where_utf8(vec![0xff]), types::Data::Binary(_)));
        assert!(matches!(text_where_utf8(Vec::new()), types::Data::Text(_)));
    }
}
