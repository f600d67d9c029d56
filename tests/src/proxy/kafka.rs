//! The frame of Kafka's protocol: a length, and the number of the API.

use anyhow::{Context as _, Result, ensure};

use super::requests::length_at;

const PRODUCE: [u8; 2] = [0, 0];
const NOT_ENOUGH_REPLICAS: i16 = 19;
/// Version from which on lengths are varints, one more than what they count, and structures end with tags.
const FLEXIBLE_FROM: i16 = 9;

pub(super) fn length(read: &[u8]) -> Option<usize> {
    Some(4 + length_at(read, 0)?)
}

/// Returns how many bytes of these are whole frames.
pub(super) fn whole(read: &[u8]) -> usize {
    let mut end = 0;
    while let Some(next) = read.get(end..).and_then(length).map(|length| end + length)
        && next <= read.len()
    {
        end = next;
    }
    end
}

pub(super) fn is_produce(message: &[u8]) -> bool {
    message.get(4..).is_some_and(|body| body.starts_with(&PRODUCE))
}

/// Tells whether it has records for a topic whose name ends so: clients send one for each partition.
pub(super) fn is_produce_to(message: &[u8], end: &str) -> bool {
    is_produce(message) && topic(message).is_ok_and(|topic| topic.ends_with(end.as_bytes()))
}

/// The only topic of a request to store records.
fn topic(message: &[u8]) -> Result<&[u8]> {
    let is_flexible = version(message)? >= FLEXIBLE_FROM;
    // Length, API, version, correlation, then the client's name, whose length has two bytes in every version.
    let client = usize::from(u16::from_be_bytes(*bytes_at(message, 12)?));
    let mut at = 14 + client;
    if is_flexible {
        // No tags, no transaction; acks and timeout; one topic.
        at += 1 + 1 + 6 + 1;
        let length = usize::from(*message.get(at).context("a topic")?) - 1;
        ensure!(length < 127, "the topic's name is longer than this reads");
        return message.get(at + 1..at + 1 + length).context("a topic");
    }
    at += 2 + 6 + 4;
    let length = usize::from(u16::from_be_bytes(*bytes_at(message, at)?));
    message.get(at + 2..at + 2 + length).context("a topic")
}

/// The answer that the topic's first partition has too few replicas in sync.
pub(super) fn too_few_replicas(message: &[u8]) -> Result<Vec<u8>> {
    let topic = topic(message)?;
    let version = version(message)?;
    ensure!((7..=12).contains(&version), "requests to store records have version {version}");
    let mut body = bytes_at::<4>(message, 8)?.to_vec();
    let partition = [&0_i32.to_be_bytes()[..], &NOT_ENOUGH_REPLICAS.to_be_bytes(), &[0xff; 24]].concat();
    if version >= FLEXIBLE_FROM {
        let length = u8::try_from(topic.len() + 1)?;
        // One topic with one partition; no errors of records, no text, and tags nowhere.
        body.extend([&[0, 2, length][..], topic, &[2], &partition, &[1, 0, 0], &[0], &[0; 4], &[0]].concat());
    } else {
        let length = u16::try_from(topic.len())?.to_be_bytes();
        let errors: &[u8] = if version >= 8 { &[0, 0, 0, 0, 0xff, 0xff] } else { &[] };
        let one = 1_i32.to_be_bytes();
        body.extend([&one[..], &length, topic, &one, &partition, errors, &[0; 4]].concat());
    }
    let length = u32::try_from(body.len())?.to_be_bytes();
    Ok([&length[..], &body].concat())
}

fn version(message: &[u8]) -> Result<i16> {
    Ok(i16::from_be_bytes(*bytes_at(message, 6)?))
}

fn bytes_at<const N: usize>(message: &[u8], at: usize) -> Result<&[u8; N]> {
    message.get(at..).and_then(<[u8]>::first_chunk).context("the request is too short")
}
