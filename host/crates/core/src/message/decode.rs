//! From a Kafka record to the fields of a message (headers win, the topic is the fall-back).
//!
//! Payloads are not looked into: decoding them is the handler's business, so a record is undecodable
//! only where Postgres or the contract with guests could not carry what it says.

use super::{Header, HeaderName, Record};

/// The fields that headers give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decoded {
    /// `message_id`, `event_id`, `ce_id` or `id`; else the record's place in the log.
    pub message_id: String,
    /// `event_type` or `ce_type`; else the topic.
    pub event_type: String,
    /// `source`, `source_service` or `ce_source`; else the topic.
    pub source: String,
    /// `schema_version`.
    pub schema_version: Option<String>,
    /// `content-type`.
    pub content_type: Option<String>,
    /// `trace_id`.
    pub trace_id: Option<String>,
    /// `traceparent`, W3C trace context.
    pub traceparent: Option<String>,
    /// `correlation_id`.
    pub correlation_id: Option<String>,
    /// `causation_id`.
    pub causation_id: Option<String>,
    /// `idempotency_key`.
    pub idempotency_key: Option<String>,
}

/// Why a record goes to quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// The contract with guests has text names.
    #[error("header name {0:?} is not UTF-8")]
    HeaderName(String),
    /// A field that headers give must be text that Postgres can hold.
    #[error("header {0} is not UTF-8 text without U+0000")]
    HeaderValue(String),
    /// An index entry must fit a page; 255 characters is what the field is given.
    #[error("header {0} has {1} characters, at most 255 are allowed in it")]
    TooLong(String, usize),
}

/// Reads a record's headers. `place` is the fall-back id, which must name the topic's id as well: a
/// topic that was deleted and made again counts its offsets from 0.
///
/// # Errors
/// Says what cannot be carried; the record then goes to quarantine verbatim.
pub fn decode(record: &Record, topic: &str, place: &str) -> Result<Decoded, Undecodable> {
    for header in &record.headers {
        if let HeaderName::Bytes(name) = &header.name {
            return Err(Undecodable::HeaderName(String::from_utf8_lossy(name).into_owned()));
        }
    }
    let headers = &record.headers;
    let named =
        |names: &[&'static str]| names.iter().find_map(|name| text(headers, name).transpose()).transpose();
    let short = |names: &[&'static str]| match named(names)? {
        Some((name, value)) if value.chars().count() > 255 => {
            Err(Undecodable::TooLong(name.to_owned(), value.chars().count()))
        }
        found => Ok(found.map(|(_, value)| value)),
    };
    let long = |name: &str| Ok(text(headers, name)?.map(|(_, value)| value));
    Ok(Decoded {
        message_id: short(&["message_id", "event_id", "ce_id", "id"])?.unwrap_or_else(|| place.to_owned()),
        event_type: short(&["event_type", "ce_type"])?.unwrap_or_else(|| topic.to_owned()),
        source: short(&["source", "source_service", "ce_source"])?.unwrap_or_else(|| topic.to_owned()),
        schema_version: short(&["schema_version"])?,
        content_type: long("content-type")?,
        trace_id: long("trace_id")?,
        traceparent: long("traceparent")?,
        correlation_id: long("correlation_id")?,
        causation_id: long("causation_id")?,
        idempotency_key: long("idempotency_key")?,
    })
}

/// The last header of that name that says something: blank and null values are as if absent.
fn text<'h>(headers: &'h [Header], name: &'h str) -> Result<Option<(&'h str, String)>, Undecodable> {
    let Some(value) =
        headers.iter().rev().find(|header| header.is(name)).and_then(|header| header.value.as_deref())
    else {
        return Ok(None);
    };
    match std::str::from_utf8(value) {
        Ok(value) if value.contains('\0') => Err(Undecodable::HeaderValue(name.to_owned())),
        Ok(value) if value.trim().is_empty() => Ok(None),
        Ok(value) => Ok(Some((name, value.trim().to_owned()))),
        Err(_) => Err(Undecodable::HeaderValue(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(headers: Vec<Header>) -> Record {
        Record { partition: 0, offset: 7, key: None, payload: None, headers, timestamp_ms: 0 }
    }

    #[test]
    fn headers_win_and_the_topic_is_the_fall_back() {
        let bare = decode(&record(vec![]), "orders", "orders:0:7").unwrap();
        assert_eq!(
            (bare.message_id.as_str(), bare.event_type.as_str(), bare.source.as_str()),
            ("orders:0:7", "orders", "orders")
        );
        let full = decode(
            &record(vec![
                Header::text("event_id", "e"),
                Header::text("message_id", " m "),
                Header::text("event_type", "order.placed"),
                Header::text("source_service", "shop"),
                Header::text("traceparent", "00-1-2-01"),
                Header::text("event_type", "order.changed"),
            ]),
            "orders",
            "p",
        )
        .unwrap();
        assert_eq!((full.message_id.as_str(), full.source.as_str()), ("m", "shop"));
        assert_eq!(full.event_type, "order.changed", "the last of several wins");
        assert_eq!(full.traceparent.as_deref(), Some("00-1-2-01"));
    }

    #[test]
    fn blank_and_null_values_are_as_if_absent() {
        let blank = vec![
            Header::text("message_id", "  "),
            Header { name: HeaderName::Text("source".into()), value: None },
        ];
        let decoded = decode(&record(blank), "orders", "place").unwrap();
        assert_eq!((decoded.message_id.as_str(), decoded.source.as_str()), ("place", "orders"));
    }

    #[test]
    fn what_cannot_be_carried_is_named() {
        let name = Header { name: HeaderName::Bytes(vec![0xff]), value: None };
        assert!(matches!(decode(&record(vec![name]), "t", "p"), Err(Undecodable::HeaderName(_))));
        let value = Header { name: HeaderName::Text("event_type".into()), value: Some(vec![0xff]) };
        assert_eq!(
            decode(&record(vec![value]), "t", "p"),
            Err(Undecodable::HeaderValue("event_type".into()))
        );
        let long = Header::text("message_id", &"x".repeat(256));
        assert_eq!(
            decode(&record(vec![long]), "t", "p"),
            Err(Undecodable::TooLong("message_id".into(), 256))
        );
    }
}
