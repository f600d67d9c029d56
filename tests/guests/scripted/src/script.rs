//! The words that a payload may say.
//!
//! What is not a JSON object is no script, and completes without effects: tests send empty, binary
//! and huge payloads too. A misspelt script is rejected, so that a test does not pass by accident.

use mailroom_guest::{Message, Stop};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    #[serde(default)]
    pub behave: Behave,
    /// Behave so on attempts before this one, and complete from it on.
    pub until_attempt: Option<u32>,
    /// The delay that `retry-after` asks for.
    #[serde(default = "half_a_second")]
    pub after_ms: u64,
    /// Topic to publish to; nothing is published without it.
    pub topic: Option<String>,
    /// Number of messages to publish.
    #[serde(default = "one")]
    pub count: u32,
    /// Number of empty headers that go with each.
    #[serde(default)]
    pub headers: u32,
    /// The idempotency key of what is published.
    pub once: Option<String>,
    /// Comes back in what is published.
    #[serde(default)]
    pub value: serde_json::Value,
    /// Is added to `sum` in state, which comes back too.
    pub add: Option<i64>,
    /// A value of state that it reads and leaves, and that comes back.
    pub peek: Option<String>,
    /// The names of all values come back.
    #[serde(default)]
    pub list: bool,
    /// A configuration key, whose value comes back.
    pub config: Option<String>,
    /// Lines that it logs first, by level, context and text.
    #[serde(default)]
    pub log: Vec<(String, String, String)>,
    /// Number of times that it logs them.
    #[serde(default = "one")]
    pub log_times: u32,
    /// Is printed.
    pub say: Option<String>,
    /// MiB that are held for as long as the instance lives.
    #[serde(default)]
    pub hold_mib: usize,
    /// The key of what is published, in place of the message's own.
    pub as_key: Option<String>,
    /// True if all of it is about shared state instead of the key's.
    #[serde(default)]
    pub shared: bool,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behave {
    #[default]
    Ok,
    Emit,
    Skip,
    Reject,
    Fail,
    Retry,
    RetryAfter,
    RetryUncounted,
    Panic,
    Loop,
    DoWithout,
    GoWithout,
    Flood,
    MemoryBomb,
    Recurse,
    Sleep,
    Allocate,
    FailAtLength,
    PrintForEver,
    PublishForEver,
    StoreForEver,
}

impl Script {
    pub fn of(message: &Message) -> Result<Option<Self>, Stop> {
        let payload = message.payload.as_ref().map_or(&[][..], |payload| payload.as_bytes());
        match serde_json::from_slice(payload) {
            Ok(serde_json::Value::Object(_)) => message.json().map(Some),
            Ok(_) | Err(_) => Ok(None),
        }
    }
}

fn one() -> u32 {
    1
}

fn half_a_second() -> u64 {
    500
}
