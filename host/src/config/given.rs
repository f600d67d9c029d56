//! One value as it was given: from a file with its TOML type, or from the environment as text.

use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use toml::Value;

use super::Source;

/// A value and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) source: Source,
}

impl Given {
    /// The value as a person wrote it, for messages.
    pub(super) fn shown(&self) -> String {
        self.value.to_string()
    }

    /// Text; a number is not text in a file.
    pub(super) fn text(&self) -> Option<&str> {
        self.value.as_str()
    }

    /// Text, or a moment, which TOML writes without quotes too.
    pub(super) fn moment_text(&self) -> Option<String> {
        let moment = || self.value.as_datetime().map(ToString::to_string);
        self.text().map(|text| text.trim().to_owned()).or_else(moment)
    }

    /// A whole number; the environment knows text only.
    pub(super) fn count<T: FromStr>(&self) -> Option<T> {
        match (&self.value, self.source) {
            (Value::Integer(number), _) => number.to_string().parse().ok(),
            (Value::String(text), Source::Env) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        match (&self.value, self.source) {
            (Value::Boolean(flag), _) => Some(*flag),
            (Value::String(text), Source::Env) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A duration such as `30s` or `1h 30m`.
    pub(super) fn duration(&self) -> Option<Duration> {
        humantime::parse_duration(self.text()?.trim()).ok()
    }

    /// Bytes, as a number or such as `16MiB`.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.count().or_else(|| Some(self.text()?.trim().parse::<ByteSize>().ok()?.as_u64()))
    }

    /// A list of texts; in the environment they stand with commas between them.
    pub(super) fn list(&self) -> Option<Vec<String>> {
        match (&self.value, self.source) {
            (Value::Array(values), _) => {
                values.iter().map(|value| value.as_str().map(str::to_owned)).collect()
            }
            (Value::String(text), Source::Env) => Some(
                text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(),
            ),
            _ => None,
        }
    }
}
