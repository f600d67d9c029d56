//! The frame of Kafka's protocol: a length, and the number of the API.

use super::requests::length_at;

const PRODUCE: [u8; 2] = [0, 0];

pub(super) fn length(read: &[u8]) -> Option<usize> {
    Some(4 + length_at(read, 0)?)
}

pub(super) fn is_produce(message: &[u8]) -> bool {
    message.get(4..).is_some_and(|body| body.starts_with(&PRODUCE))
}
