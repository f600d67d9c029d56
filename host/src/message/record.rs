//! A Kafka record as it was read, before anybody looked into it.

use super::Header;

/// One record; the `kafka` home makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its partition within the topic.
    pub(crate) partition: i32,
    /// Its place within the partition.
    pub(crate) offset: i64,
    /// Its key.
    pub(crate) key: Option<Vec<u8>>,
    /// Its value; `None` is a tombstone.
    pub(crate) payload: Option<Vec<u8>>,
    /// Its headers, names as they came.
    pub(crate) headers: Vec<Header>,
    /// Its timestamp in milliseconds since 1970; 0 where it has none.
    pub(crate) timestamp_ms: i64,
}
