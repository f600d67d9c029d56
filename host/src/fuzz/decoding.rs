//! Fuzz target: a record's headers become the fields of a message.

use super::TIME;
use super::record::{Raw, record};
use crate::message::{Origin, decode};

const ORIGIN: Origin<'_> = Origin { topic: "topic", place: "place", id_header: Some("id") };

#[test]
fn fields_that_are_decoded_are_such_as_a_row_can_hold() {
    bolero::check!().with_test_time(TIME).with_type::<Vec<Raw>>().for_each(|raw| {
        let Ok(decoded) = decode(&record(raw), ORIGIN) else { return };
        let short = [Some(&decoded.message_id), Some(&decoded.event_type), Some(&decoded.source)];
        for text in short.into_iter().chain([decoded.schema_version.as_ref()]).flatten() {
            assert!(!text.is_empty() && text.chars().count() <= 255, "{text:?}");
        }
        let long = [
            decoded.content_type.as_ref(),
            decoded.trace_id.as_ref(),
            decoded.traceparent.as_ref(),
            decoded.correlation_id.as_ref(),
            decoded.causation_id.as_ref(),
            decoded.idempotency_key.as_ref(),
        ];
        for text in short.into_iter().chain(long).flatten() {
            assert!(!text.contains('\0') && text.trim() == text, "{text:?}");
        }
    });
}
