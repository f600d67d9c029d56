//! Records that a test reads back, and what a topic as a whole must show.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context as _, Result, ensure};

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Partition in which it lies.
    pub partition: i32,
    /// Place within the partition.
    pub offset: i64,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Headers in order; names may repeat.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// The text of the first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(given, _)| given == name)?;
        value.as_deref().map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The id that repeats of a message share.
    ///
    /// # Errors
    /// Where the relay did not write it.
    pub fn id(&self) -> Result<String> {
        self.header("message_id").with_context(|| format!("no header message_id on {self:?}"))
    }

    /// The key as text; empty where it is null.
    #[must_use]
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    /// The payload as JSON.
    ///
    /// # Errors
    /// Where it is null or not JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        let payload = self.payload.as_deref().context("the payload is null")?;
        Ok(serde_json::from_slice(payload)?)
    }

    /// The number in the payload's field `name`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn number(&self, name: &str) -> Result<i64> {
        let json = self.json()?;
        json.get(name)
            .and_then(serde_json::Value::as_i64)
            .with_context(|| format!("no number {name} in {json}"))
    }
}

/// The first record of each id: repeats are allowed after a crash, gaps and disorder never.
///
/// # Errors
/// Where a record has no id.
pub fn first_occurrences(records: &[Record]) -> Result<Vec<&Record>> {
    let mut seen = HashSet::new();
    let mut first = Vec::new();
    for record in records {
        if seen.insert(record.id()?) {
            first.push(record);
        }
    }
    Ok(first)
}

/// Fails unless the field `name` rises from record to record of each key.
///
/// # Errors
/// Names the key and the two numbers.
pub fn ensure_rising_per_key(records: &[&Record], name: &str) -> Result<()> {
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for record in records {
        let (key, number) = (record.key_text(), record.number(name)?);
        if let Some(before) = last.insert(key.clone(), number) {
            ensure!(before < number, "key {key}: {name} {number} came after {before}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, key: &str, value: i64) -> Record {
        Record {
            partition: 0,
            offset: 0,
            key: Some(key.into()),
            payload: Some(format!(r#"{{"value": {value}}}"#).into()),
            headers: vec![("message_id".into(), Some(id.into()))],
        }
    }

    #[test]
    fn a_repeat_is_no_disorder_and_a_swap_is() {
        let good = [record("a", "k", 1), record("b", "k", 2), record("a", "k", 1), record("c", "other", 1)];
        let first = first_occurrences(&good).unwrap();
        assert_eq!(first.len(), 3);
        ensure_rising_per_key(&first, "value").unwrap();
        let swapped = [record("b", "k", 2), record("a", "k", 1)];
        let swapped = first_occurrences(&swapped).unwrap();
        let error = ensure_rising_per_key(&swapped, "value").unwrap_err().to_string();
        assert!(error.contains("key k"), "{error}");
    }
}
