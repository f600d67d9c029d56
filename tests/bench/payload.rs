//! The messages that are sent: 300 bytes each, over 1,000 keys and 12 partitions.

/// Partitions of each topic.
pub(crate) const PARTITIONS: i32 = 12;

/// Different keys.
pub(crate) const KEYS: u32 = 1_000;

/// The type that every message has.
pub(crate) const EVENT_TYPE: &str = "bench.message";

const BYTES: usize = 300;

/// Returns a payload that nobody looks at, as JSON.
pub(crate) fn payload() -> Vec<u8> {
    let (before, after) = (r#"{"value": ""#, r#""}"#);
    let filling = "x".repeat(BYTES - before.len() - after.len());
    format!("{before}{filling}{after}").into_bytes()
}

/// The key of the message of this number.
pub(crate) fn key(number: u32) -> String {
    format!("key-{}", number % KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_json_of_its_size() {
        let payload = payload();
        assert_eq!(payload.len(), BYTES);
        let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert!(json.is_object());
    }
}
