//! A Kafka record as it was read, before anybody looked into it.

use super::Header;

/// One record; the `kafka` home makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Partition within the topic.
    pub partition: i32,
    /// Place within the partition.
    pub offset: i64,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Headers, names as they came.
    pub headers: Vec<Header>,
    /// Timestamp in milliseconds since 1970; 0 where it has none.
    pub timestamp_ms: i64,
}

impl Record {
    /// Gives the bytes that it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let data = [&self.key, &self.payload].into_iter().flatten().map(Vec::len).sum::<usize>();
        size_of::<Self>() + data + self.headers.iter().map(Header::bytes).sum::<usize>()
    }
}
