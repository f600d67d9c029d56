//! Headers as Kafka has them: an ordered list, names may repeat, values are bytes or null.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A header's name: text, or bytes where a record's name is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderName {
    /// The ordinary case.
    Text(String),
    /// Not UTF-8: such a record is quarantined with its names as they came.
    Bytes(Vec<u8>),
}

impl HeaderName {
    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(name) => name.len(),
            Self::Bytes(name) => name.len(),
        }
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(name) => f.write_str(name),
            Self::Bytes(name) => f.write_str(&String::from_utf8_lossy(name)),
        }
    }
}

/// One header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its name; names may repeat.
    pub(crate) name: HeaderName,
    /// Its value; Kafka knows null.
    pub(crate) value: Option<Vec<u8>>,
}

impl Header {
    /// A header with a text value.
    #[must_use]
    pub(crate) fn text(name: &str, value: &str) -> Self {
        Self { name: HeaderName::Text(name.to_owned()), value: Some(value.as_bytes().to_vec()) }
    }

    /// Whether it has this very name.
    #[must_use]
    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(&self.name, HeaderName::Text(text) if text == name)
    }
}

/// The stored form, `[["name", "text"], ["name", {"base64": "…"}], ["name", null]]`; `None` where there
/// are none. Text that jsonb cannot hold (U+0000) travels as base64 as well.
#[must_use]
pub(crate) fn headers_to_json(headers: &[Header]) -> Option<String> {
    // Writing strings and lists to memory does not fail.
    if headers.is_empty() { None } else { serde_json::to_string(headers).ok() }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = match &self.name {
            HeaderName::Text(text) => text.as_bytes(),
            HeaderName::Bytes(bytes) => bytes,
        };
        (Bytes(name), self.value.as_deref().map(Bytes)).serialize(serializer)
    }
}

/// Bytes as text where jsonb can hold them so.
struct Bytes<'b>(&'b [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) if !text.contains('\0') => serializer.serialize_str(text),
            _ => serializer.collect_map([("base64", BASE64.encode(self.0))]),
        }
    }
}

/// Reads the stored form, which anyone with SQL may have written.
///
/// # Errors
/// Says which entry is not a header.
pub(crate) fn headers_from_json(stored: &Value) -> Result<Vec<Header>, String> {
    let Value::Array(entries) = stored else {
        return Err("headers are not a JSON array".to_owned());
    };
    entries.iter().map(header_from_json).collect()
}

fn header_from_json(entry: &Value) -> Result<Header, String> {
    let pair = entry.as_array().map(Vec::as_slice);
    let Some([name, value]) = pair else {
        return Err(format!("header {entry} is not a [name, value] pair"));
    };
    let bytes =
        json_to_bytes(name).ok_or_else(|| format!("header name {name} is neither text nor base64"))?;
    let name =
        String::from_utf8(bytes).map_or_else(|error| HeaderName::Bytes(error.into_bytes()), HeaderName::Text);
    let value = if value.is_null() {
        None
    } else {
        let bytes = json_to_bytes(value);
        Some(bytes.ok_or_else(|| format!("value of header {name} is neither text, base64 nor null"))?)
    };
    Ok(Header { name, value })
}

fn json_to_bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Object(form) => BASE64.decode(form.get("base64")?.as_str()?).ok(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stored_headers_read_back_exactly() {
        let headers = vec![
            Header::text("a", "text"),
            Header { name: HeaderName::Text("a".into()), value: None },
            Header { name: HeaderName::Text("bytes".into()), value: Some(vec![0xff, 0x00]) },
            Header { name: HeaderName::Text("nul".into()), value: Some(b"a\0b".to_vec()) },
            Header { name: HeaderName::Text("empty".into()), value: Some(vec![]) },
            Header { name: HeaderName::Bytes(vec![0xc3, 0x28]), value: Some(b"x".to_vec()) },
        ];
        let stored = headers_to_json(&headers).unwrap();
        assert!(!stored.contains("\\u0000"), "jsonb refuses U+0000");
        let stored: Value = serde_json::from_str(&stored).unwrap();
        assert_eq!(headers_from_json(&stored).unwrap(), headers);
        assert_eq!(headers_to_json(&[]), None);
    }

    #[test]
    fn nonsense_from_an_operator_is_named() {
        for (stored, named) in [
            (json!({}), "array"),
            (json!([["a"]]), "pair"),
            (json!([[1, "x"]]), "name 1"),
            (json!([["a", {"base64": "%"}]]), "value of header a"),
        ] {
            let error = headers_from_json(&stored).unwrap_err();
            assert!(error.contains(named), "{error} should name {named}");
        }
    }
}
