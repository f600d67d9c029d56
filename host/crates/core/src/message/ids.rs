//! Ids and hashes that must be the same on every delivery, on every host.

use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

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
    fn order_is_by_topic_partition_and_key() {
        let key = Some(b"k".as_slice());
        assert_eq!(order_key("t", 0, key), order_key("t", 0, key));
        assert_ne!(order_key("t", 0, key), order_key("t", 1, key));
        assert_ne!(order_key("t", 0, key), order_key("u", 0, key));
        assert_eq!(order_key("t", 0, None), None);
    }
}
