//! The secret by which a host proves that a lane is its own, where guests could try the same.

use std::fmt;

use mailroom_core::ids::{Lease, Seq};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The key of one life of this host, which Postgres made. Nothing shows it.
#[derive(Clone)]
pub(crate) struct SettleKey(Uuid);

impl SettleKey {
    pub(crate) fn new(key: Uuid) -> Self {
        Self(key)
    }

    /// Proves that the host settles this message in this transaction, as `mailroom.settle_proof` does.
    pub(crate) fn proof(&self, transaction: &str, lease: Lease, seq: Seq) -> Uuid {
        let Lease { lane, token } = lease;
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update(format!("{transaction}:{lane}:{token}:{seq}"))
            .finalize();
        let mut bytes = [0; 16];
        for (byte, hashed) in bytes.iter_mut().zip(digest) {
            *byte = hashed;
        }
        Uuid::from_bytes(bytes)
    }
}

impl fmt::Debug for SettleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SettleKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use mailroom_core::ids::{LaneId, LaneToken};

    use super::*;

    #[test]
    fn a_proof_is_of_one_message_in_one_transaction_and_shows_no_key() {
        let key = SettleKey::new(Uuid::from_u128(7));
        let lease = |lane, token| Lease { lane: LaneId(lane), token: LaneToken(token) };
        let proof = key.proof("750", lease(64, 3), Seq(9));
        let others = [
            key.proof("751", lease(64, 3), Seq(9)),
            key.proof("750", lease(65, 3), Seq(9)),
            key.proof("750", lease(64, 4), Seq(9)),
            key.proof("750", lease(64, 3), Seq(10)),
            SettleKey::new(Uuid::from_u128(8)).proof("750", lease(64, 3), Seq(9)),
        ];
        assert!(others.iter().all(|other| *other != proof));
        assert_eq!(proof, key.proof("750", lease(64, 3), Seq(9)));
        assert_eq!(format!("{key:?}"), "SettleKey(hidden)");
    }
}
