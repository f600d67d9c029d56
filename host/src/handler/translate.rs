//! Between the contract's values and the host's.

use std::time::Duration;

use super::bindings::mailroom::contract::types;
use super::fault::DETAIL_BYTES_MAX;
use crate::config::Form;
use crate::message::{Header, LAST_ERROR_BYTES_MAX, Message, bounded};
use crate::pipeline::outcome::{End, Fault, Outcome};

/// The longest wait that a guest may ask for, for a retry as for a message.
pub(super) const DELAY_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
const CODE_BYTES_MAX: usize = 128;

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

/// What the guest decided, its words cut to what a row holds.
pub(super) fn end(reply: Result<types::Outcome, types::Failure>) -> End {
    let words = |text: String| bounded(&text, LAST_ERROR_BYTES_MAX);
    match reply {
        Ok(types::Outcome::Completed) => End::Decided(Outcome::Completed),
        Ok(types::Outcome::Skipped(reason)) => End::Decided(Outcome::Skipped(words(reason))),
        Ok(types::Outcome::Rejected(reason)) => End::Decided(Outcome::Rejected(words(reason))),
        Ok(types::Outcome::Retry(retry)) => {
            let after = retry.after_ms.map(Duration::from_millis);
            if after.is_some_and(|after| after > DELAY_MAX) {
                let reason = "its retry's after-ms is more than 365 days".to_owned();
                return End::Faulted(Fault::BadReply { reason });
            }
            End::Decided(Outcome::Retry { reason: words(retry.reason), after, counts: retry.counts })
        }
        Err(failure) => End::Faulted(Fault::Failed {
            message: words(failure.message),
            code: failure
                .code
                .filter(|code| !code.trim().is_empty())
                .map(|code| bounded(&code, CODE_BYTES_MAX)),
            detail: failure.detail.map(|detail| bounded(&detail, DETAIL_BYTES_MAX)),
        }),
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

    #[test]
    fn an_absurd_wait_is_a_bad_reply() {
        let retry = |after_ms| types::Retry { reason: "busy".to_owned(), after_ms, counts: true };
        let end = |after_ms| end(Ok(types::Outcome::Retry(retry(after_ms))));
        assert!(matches!(end(Some(5)), End::Decided(Outcome::Retry { after: Some(_), .. })));
        assert!(matches!(end(Some(u64::MAX)), End::Faulted(Fault::BadReply { .. })));
    }
}
