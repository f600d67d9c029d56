//! Headers as Kafka has them: an ordered list, names may repeat, values are bytes or null.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Memory that an allocation takes beside its content, about.
const ALLOCATION_BYTES: usize = 16;

/// A header's name: text, or bytes where a record's name is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HeaderName {
    /// The ordinary case.
    Text(String),
    /// Bytes that are not UTF-8: such a record is quarantined with its names as they came.
    Bytes(Vec<u8>),
}

impl HeaderName {
    /// Returns the length in bytes.
    pub fn size(&self) -> usize {
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Header {
    /// Name; names may repeat.
    pub name: HeaderName,
    /// Value; Kafka knows null.
    pub value: Option<Vec<u8>>,
}

impl Header {
    /// Gives the bytes that it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let value = self.value.as_ref().map_or(0, |value| ALLOCATION_BYTES + value.len());
        size_of::<Self>() + ALLOCATION_BYTES + self.name.size() + value
    }

    /// A header with a text value.
    #[must_use]
    pub fn text(name: &str, value: &str) -> Self {
        Self { name: HeaderName::Text(name.to_owned()), value: Some(value.as_bytes().to_vec()) }
    }

    /// Tells whether it has this very name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        matches!(&self.name, HeaderName::Text(text) if text == name)
    }
}

/// The stored form, `[["name", "text"], ["name", {"base64": "…"}], ["name", null]]`; `None` where there
/// are none. Text that jsonb cannot hold (U+0000) travels as base64 as well.
#[must_use]
pub fn headers_to_json(headers: &[Header]) -> Option<String> {
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

/// Reads the stored form, which anyone with SQL may have written.
///
/// # Errors
/// Says what is not a header, and where in the text.
pub fn headers_from_json(stored: &str) -> Result<Vec<Header>, String> {
    let read = serde_json::from_str(stored);
    read.map_err(|error| format!("headers are not a list of [name, value] pairs: {error}"))
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, value) = <(Owned, Option<Owned>)>::deserialize(deserializer)?;
        let name = String::from_utf8(name.0)
            .map_or_else(|error| HeaderName::Bytes(error.into_bytes()), HeaderName::Text);
        Ok(Self { name, value: value.map(|Owned(value)| value) })
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

/// The same, read.
struct Owned(Vec<u8>);

impl<'de> Deserialize<'de> for Owned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrBase64)
    }
}

struct TextOrBase64;

impl<'de> Visitor<'de> for TextOrBase64 {
    type Value = Owned;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or {\"base64\": …}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Owned, E> {
        Ok(Owned(text.as_bytes().to_vec()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Owned, A::Error> {
        #[derive(Deserialize)]
        struct Form {
            base64: String,
        }
        let form = Form::deserialize(MapAccessDeserializer::new(map))?;
        BASE64.decode(form.base64).map(Owned).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(headers_from_json(&stored).unwrap(), headers);
        assert_eq!(headers_to_json(&[]), None);
    }

    #[test]
    fn nonsense_from_an_operator_is_named() {
        for (stored, named) in [
            ("{}", "invalid type: map, expected a sequence"),
            (r#"[["a"]]"#, "invalid length 1, expected a tuple of size 2"),
            (r#"[["a", "b", "c"]]"#, "trailing characters at line 1 column 13"),
            (r#"[[1, "x"]]"#, "invalid type: integer `1`, expected text or"),
            (r#"[[null, "x"]]"#, "invalid type: null, expected text or"),
            (r#"[["a", {"base64": "%"}]]"#, "Invalid symbol 37, offset 0"),
            (r#"[["a", {"base46": ""}]]"#, "missing field `base64`"),
        ] {
            let error = headers_from_json(stored).unwrap_err();
            assert!(error.contains(named), "{error} should say {named}");
        }
    }
}
