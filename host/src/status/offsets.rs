//! Partitions: how far each is read, and how far it could be.

use serde::Serialize;

use crate::db::status::Read;
use crate::kafka::LogEnds;

/// Position up to which a partition is read, beside the end of its log.
#[derive(Debug, Serialize)]
pub(crate) struct Offset {
    #[serde(flatten)]
    pub(crate) read: Read,
    /// The offset that the next record will have, where Kafka told it.
    pub(crate) end_offset: Option<i64>,
    /// The offset from which on an open transaction keeps records from consumers, where there is one.
    pub(crate) open_from: Option<i64>,
    /// The distance to the end. Without a value where the end is not known, or the topic was made again: what was read
    /// is of another log.
    pub(crate) lag: Option<i64>,
    #[serde(skip)]
    pub(crate) is_replaced: bool,
}

impl Offset {
    /// Puts what is read beside what Kafka told.
    pub(super) fn of(read: Read, ends: &LogEnds) -> Self {
        let end_offset = ends.end(&read.topic, read.partition);
        let open_from = ends.open_from(&read.topic, read.partition);
        let (lag, is_replaced) = (ends.lag(&read), ends.is_replaced(&read));
        Self { read, end_offset, open_from, lag, is_replaced }
    }
}
