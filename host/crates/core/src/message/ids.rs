//! Ids and hashes that must be the same on every delivery, on every host.

use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

/// The last moment that 48 bits of milliseconds can say, in the year 10889.
const TIME_MAX: i64 = (1 << 48) - 1;

/// The id of the message that `parent` emits at `position`: a redo emits the same ids. It keeps the
/// parent's time (RFC 9562 version 7, 48 bits) so that new rows append to their index.
#[must_use]
pub fn emitted_id(parent: Uuid, position: usize) -> Uuid {
    let digest = Sha256::new().chain_update(parent).chain_update(position.to_be_bytes()).finalize();
    let mut bytes = parent.into_bytes();
    for (byte, hashed) in bytes.iter_mut().skip(6).zip(digest) {
        *byte = hashed;
    }
    Builder::from_bytes(bytes)
        .with_version(uuid::Version::SortRand)
        .with_variant(uuid::Variant::RFC4122)
        .into_uuid()
}

/// The id of the message of a record: the same on every delivery, on every host, whether or not it has a row. It is
/// of version 8 (RFC 9562 §5.8): 48 bits of the record's time, so that ids of new records append to their index, then
/// a hash of the group and of the record's place in the log. `topic_id` is nil where the cluster has no topic ids.
#[must_use]
pub fn record_id(
    group: &str,
    topic: &str,
    topic_id: Uuid,
    partition: i32,
    offset: i64,
    time_ms: i64,
) -> Uuid {
    let hash = Sha256::new().chain_update(group).chain_update([0]);
    let hash = if topic_id.is_nil() {
        hash.chain_update([0]).chain_update(topic).chain_update([0])
    } else {
        hash.chain_update([1]).chain_update(topic_id)
    };
    let hash = hash.chain_update(partition.to_be_bytes()).chain_update(offset.to_be_bytes()).finalize();
    let time = time_ms.clamp(0, TIME_MAX).to_be_bytes();
    let mut bytes = [0; 16];
    let digits = time.iter().skip(2).chain(&hash);
    for (byte, digit) in bytes.iter_mut().zip(digits) {
        *byte = *digit;
    }
    Builder::from_bytes(bytes)
        .with_version(uuid::Version::Custom)
        .with_variant(uuid::Variant::RFC4122)
        .into_uuid()
}

/// Milliseconds since 1970 in an id of version 7 or 8, as this program makes them.
#[must_use]
pub fn id_time_ms(id: Uuid) -> Option<i64> {
    if !matches!(id.get_version_num(), 7 | 8) {
        return None;
    }
    let time = id.as_bytes().iter().take(6);
    Some(time.fold(0, |time, byte| (time << 8) | i64::from(*byte)))
}

/// The id of a record that its producer gave none. A topic that is deleted and made again counts its offsets from 0:
/// its id, nil where the cluster has none, tells them apart.
#[must_use]
pub fn place_in_log(topic: &str, partition: i32, offset: i64, topic_id: Uuid) -> String {
    if topic_id.is_nil() {
        format!("{topic}:{partition}:{offset}")
    } else {
        format!("{topic}:{partition}:{offset}:{topic_id}")
    }
}

/// Tells whether a text could be [`place_in_log`] of a record of this topic.
pub(super) fn is_place_in(topic: &str, id: &str) -> bool {
    let Some(rest) = id.strip_prefix(topic).and_then(|rest| rest.strip_prefix(':')) else { return false };
    let is_number = |part: Option<&str>| part.is_some_and(|part| part.parse::<i64>().is_ok());
    let mut parts = rest.splitn(3, ':');
    is_number(parts.next())
        && is_number(parts.next())
        && parts.next().is_none_or(|topic_id| topic_id.parse::<Uuid>().is_ok())
}

/// 64 bits of a hash over where a key came from. A collision only makes two keys wait for each other.
/// `None`, no order, for a record without a key.
#[must_use]
pub fn order_key(topic: &str, partition: i32, key: Option<&[u8]>) -> Option<i64> {
    let digest = Sha256::new()
        .chain_update(topic)
        .chain_update([0])
        .chain_update(partition.to_be_bytes())
        .chain_update(key?)
        .finalize();
    let first = digest.first_chunk::<8>()?;
    Some(i64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emitted_ids_repeat_for_the_same_position_and_sort_with_their_parent() {
        let parent = Uuid::now_v7();
        assert_eq!(emitted_id(parent, 0), emitted_id(parent, 0));
        assert_ne!(emitted_id(parent, 0), emitted_id(parent, 1));
        assert_eq!(emitted_id(parent, 3).get_version_num(), 7);
        assert_eq!(emitted_id(parent, 3).as_bytes()[..6], parent.as_bytes()[..6]);
    }

    #[test]
    fn a_records_id_is_of_its_place_and_group_and_begins_with_its_time() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let id = record_id("g", "t", one, 3, 7, 1_700_000_000_000);
        assert_eq!(id, record_id("g", "renamed", one, 3, 7, 1_700_000_000_000), "the id names the topic");
        assert_eq!((id.get_version_num(), id.get_variant()), (8, uuid::Variant::RFC4122));
        assert_eq!(id_time_ms(id), Some(1_700_000_000_000));
        let others = [
            record_id("h", "t", one, 3, 7, 1_700_000_000_000),
            record_id("g", "t", two, 3, 7, 1_700_000_000_000),
            record_id("g", "t", Uuid::nil(), 3, 7, 1_700_000_000_000),
            record_id("g", "t", one, 4, 7, 1_700_000_000_000),
            record_id("g", "t", one, 3, 8, 1_700_000_000_000),
        ];
        assert!(others.iter().all(|other| *other != id), "{others:?}");
        let unnamed = |topic| record_id("g", topic, Uuid::nil(), 3, 7, 0);
        assert_ne!(unnamed("t"), unnamed("u"), "without ids the name does");
    }

    #[test]
    fn times_outside_of_48_bits_are_clamped() {
        for (time, said) in [(-1, 0), (i64::MIN, 0), (i64::MAX, TIME_MAX), (TIME_MAX, TIME_MAX)] {
            assert_eq!(id_time_ms(record_id("g", "t", Uuid::nil(), 0, 0, time)), Some(said));
        }
        assert_eq!(id_time_ms(Uuid::from_u128(5)), None, "an id of another version has no time of ours");
    }

    #[test]
    fn order_is_by_topic_partition_and_key() {
        let key = Some(b"k".as_slice());
        assert_eq!(order_key("t", 0, key), order_key("t", 0, key));
        assert_ne!(order_key("t", 0, key), order_key("t", 1, key));
        assert_ne!(order_key("t", 0, key), order_key("u", 0, key));
        assert_eq!(order_key("t", 0, None), None);
    }
}
