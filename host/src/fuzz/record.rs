//! Records with headers that mean something now and then.

use crate::message::{Header, HeaderName, Record};

/// The names that decoding looks for.
const NAMES: [&str; 17] = [
    "message_id",
    "message_topic",
    "event_id",
    "ce_id",
    "id",
    "event_type",
    "ce_type",
    "source",
    "source_service",
    "ce_source",
    "schema_version",
    "content-type",
    "trace_id",
    "traceparent",
    "correlation_id",
    "causation_id",
    "idempotency_key",
];

/// A header: a known name by its place where there is one, else these bytes; the value; how often it repeats.
pub(super) type Raw = (u8, Vec<u8>, Option<Vec<u8>>, u8);

pub(super) fn headers(raw: &[Raw]) -> Vec<Header> {
    raw.iter().map(header).collect()
}

fn header((place, bytes, value, repeat): &Raw) -> Header {
    let name =
        NAMES.get(usize::from(place % 32)).map_or_else(|| bytes.clone(), |name| name.as_bytes().to_vec());
    let name =
        String::from_utf8(name).map_or_else(|error| HeaderName::Bytes(error.into_bytes()), HeaderName::Text);
    let value = value.as_ref().map(|value| value.repeat(usize::from(repeat % 64)));
    Header { name, value }
}

pub(super) fn record(raw: &[Raw]) -> Record {
    Record { partition: 0, offset: 7, key: None, payload: None, headers: headers(raw), timestamp_ms: 0 }
}
