//! Decoding of a Kafka record into the fields of a message (headers win, the topic is the fall-back).
//!
//! Payloads are not looked into: decoding them is the handler's business, so a record is undecodable
//! only where Postgres or the contract with guests could not carry what it says.

use super::ids::is_place_in;
use super::{Header, HeaderName, Record};

/// The fields that headers give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decoded {
    /// The producer's id, which counts within topic and source; else the record's place in the log.
    pub message_id: String,
    /// `event_type` or `ce_type`; else the topic.
    pub event_type: String,
    /// `ce_source` where the id is `ce_id`. Else `source`, `source_service` or `ce_source`; else the topic.
    pub source: String,
    /// Header `schema_version`, of the payload.
    pub schema_version: Option<String>,
    /// Header `content-type`, of the payload.
    pub content_type: Option<String>,
    /// Header `trace_id`, as the producer gave it.
    pub trace_id: Option<String>,
    /// Header `traceparent`, W3C trace context.
    pub traceparent: Option<String>,
    /// Header `correlation_id`, of the business conversation.
    pub correlation_id: Option<String>,
    /// Header `causation_id`, of the message that caused this one.
    pub causation_id: Option<String>,
    /// Header `idempotency_key`, which is passed on unchanged.
    pub idempotency_key: Option<String>,
}

/// Reason why a record goes to quarantine.
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

/// Origin of a record, and what else its decoding depends on.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'o> {
    /// The topic's name.
    pub topic: &'o str,
    /// The fall-back id. It names the topic's id as well: a topic that was deleted and made again counts its offsets
    /// from 0.
    pub place: &'o str,
    /// One more header that is an id, where somebody says so.
    pub id_header: Option<&'o str>,
}

/// Reads a record's headers.
///
/// # Errors
/// Says what cannot be carried; the record then goes to quarantine verbatim.
pub fn decode(record: &Record, origin: Origin<'_>) -> Result<Decoded, Undecodable> {
    for header in &record.headers {
        if let HeaderName::Bytes(name) = &header.name {
            return Err(Undecodable::HeaderName(String::from_utf8_lossy(name).into_owned()));
        }
    }
    let headers = &record.headers;
    let long = |name: &str| Ok(text(headers, name)?.map(|(_, value)| value));
    let (message_id, source) = identity(headers, origin)?;
    Ok(Decoded {
        message_id,
        event_type: short(headers, &["event_type", "ce_type"])?.unwrap_or_else(|| origin.topic.to_owned()),
        source,
        schema_version: short(headers, &["schema_version"])?,
        content_type: long("content-type")?,
        trace_id: long("trace_id")?,
        traceparent: long("traceparent")?,
        correlation_id: long("correlation_id")?,
        causation_id: long("causation_id")?,
        idempotency_key: long("idempotency_key")?,
    })
}

/// The record's id, and the source within which it counts.
fn identity(headers: &[Header], origin: Origin<'_>) -> Result<(String, String), Undecodable> {
    let Origin { topic, place, id_header } = origin;
    let source = || {
        let named = short(headers, &["source", "source_service", "ce_source"])?;
        Ok(named.unwrap_or_else(|| topic.to_owned()))
    };
    // Whoever copies a record's headers to another topic makes another message, however often.
    let is_copy = short(headers, &["message_topic"])?.is_some_and(|of| of != topic);
    if is_copy {
        return Ok((place.to_owned(), source()?));
    }
    if let Some(id) = producers(headers, &["message_id", "event_id"], topic)? {
        return Ok((id, source()?));
    }
    // CloudEvents: an id is the source's, and nothing without it.
    if let Some(source) = short(headers, &["ce_source"])?
        && let Some(id) = producers(headers, &["ce_id"], topic)?
    {
        return Ok((id, source));
    }
    let named = id_header.map_or(Ok(None), |name| producers(headers, &[name], topic))?;
    Ok((named.unwrap_or_else(|| place.to_owned()), source()?))
}

/// An id that a producer gave. What looks like a place in the topic is none: else a header could silence the record
/// at that place.
fn producers(headers: &[Header], names: &[&str], topic: &str) -> Result<Option<String>, Undecodable> {
    Ok(short(headers, names)?.filter(|id| !is_place_in(topic, id)))
}

/// The first of these headers that says something.
fn short(headers: &[Header], names: &[&str]) -> Result<Option<String>, Undecodable> {
    let named = names.iter().find_map(|name| text(headers, name).transpose()).transpose()?;
    match named {
        Some((name, value)) if value.chars().count() > 255 => {
            Err(Undecodable::TooLong(name.to_owned(), value.chars().count()))
        }
        found => Ok(found.map(|(_, value)| value)),
    }
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
mod tests;
