//! Messages that a test sends: anything that a Kafka record can be.

/// A record to send. Key and payload are null until they are set.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub(super) topic: String,
    pub(super) key: Option<Vec<u8>>,
    pub(super) payload: Option<Vec<u8>>,
    /// Names are bytes: one test sends a name that is not UTF-8.
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The producer's clock where there is none.
    pub(super) timestamp_ms: Option<i64>,
}

impl Message {
    /// A record for `topic`.
    #[must_use]
    pub fn to(topic: &str) -> Self {
        Self { topic: topic.to_owned(), ..Self::default() }
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    /// Sets the payload, which may be empty.
    #[must_use]
    pub fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = Some(payload.as_ref().to_vec());
        self
    }

    /// Sets the payload to this JSON.
    #[must_use]
    pub fn json(self, payload: &serde_json::Value) -> Self {
        self.payload(payload.to_string())
    }

    /// One more header; names may repeat.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), Some(value.as_ref().to_vec())));
        self
    }

    /// One more header whose value is null.
    #[must_use]
    pub fn null_header(mut self, name: &str) -> Self {
        self.headers.push((name.as_bytes().to_vec(), None));
        self
    }

    /// Sets the time, in milliseconds since 1970.
    #[must_use]
    pub fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// The producer's id, by which duplicates are known.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.header("message_id", id)
    }
}
