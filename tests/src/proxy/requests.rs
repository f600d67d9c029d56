//! Requests of a client, one by one, and which of them a trap means.

use super::{Request, kafka, postgres};

/// The client's side of one connection.
pub(super) enum Requests {
    Postgres(postgres::Client),
    Kafka,
}

impl Requests {
    /// Takes the next whole message out of what was read.
    pub(super) fn next(&mut self, read: &mut Vec<u8>) -> Option<Vec<u8>> {
        let length = match self {
            Self::Postgres(client) => client.length(read),
            Self::Kafka => kafka::length(read),
        }?;
        (read.len() >= length).then(|| {
            let rest = read.split_off(length);
            std::mem::replace(read, rest)
        })
    }

    /// Tells whether this message is what the trap names. Each message is shown once, in order, without a
    /// trap too.
    pub(super) fn see(&mut self, message: &[u8], named: Option<Request>) -> bool {
        match self {
            Self::Postgres(client) => client.see(message, named),
            Self::Kafka => match named {
                Some(Request::Produce) => kafka::is_produce(message),
                Some(Request::ProduceTo(end)) => kafka::is_produce_to(message, end),
                Some(Request::Statement(_) | Request::CommitAfter(_)) | None => false,
            },
        }
    }
}

/// A length at a place, big endian, which does not count the bytes before it.
pub(super) fn length_at(read: &[u8], place: usize) -> Option<usize> {
    let bytes = read.get(place..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*bytes)).ok()
}
