//! The partitions in `mailroom status`: how far each is read, and how far it could be.

use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::print;
use crate::db::status::Read;
use crate::kafka::LogEnds;

/// Position up to which a partition is read, beside the end of its log.
#[derive(Debug, Serialize)]
pub(super) struct Offset {
    #[serde(flatten)]
    pub(super) read: Read,
    /// The offset that the next record will have, where Kafka told it.
    pub(super) end_offset: Option<i64>,
    /// The offset from which on an open transaction keeps records from consumers, where there is one.
    pub(super) open_from: Option<i64>,
    /// The distance to the end. Without a value where the end is not known, or the topic was made again: what was read
    /// is of another log.
    pub(super) lag: Option<i64>,
    #[serde(skip)]
    pub(super) is_replaced: bool,
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

/// Prints one line a partition.
pub(super) fn table(offsets: &[Offset]) -> Result<(), Failure> {
    let known = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let row = |offset: &Offset| {
        let read = &offset.read;
        vec![
            read.consumer_group.clone(),
            format!("{}/{}", read.topic, read.partition),
            read.next_offset.to_string(),
            known(offset.end_offset),
            known(offset.lag),
            print::moment(read.updated_at),
        ]
    };
    let header = ["GROUP", "PARTITION", "NEXT OFFSET", "END", "LAG", "MOVED"];
    print::table(&header, offsets.iter().map(row).collect(), "No partition has been read.")
}
