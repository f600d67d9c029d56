//! Row locks: who holds what, who would have to wait for whom.

use std::collections::BTreeMap;

use super::table::Tx;
use super::{Session, StateId};
use mailroom_core::ids::{LaneId, OrderKey, Seq, TopicPartition};

/// Something that can be locked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Host(Session),
    Lane(LaneId),
    Offset(TopicPartition),
    Row(Seq),
    /// An entry of the unique index over messages' ids.
    MessageId(String),
    State(StateId),
    Block(LaneId, OrderKey),
    Breaker,
    /// A row that a handler's own statement writes.
    Guest(String),
}

/// Strength of a row's lock, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Mode {
    KeyShare,
    NoKeyUpdate,
    Update,
}

impl Mode {
    fn conflicts(self, other: Self) -> bool {
        match (self, other) {
            (Self::KeyShare, Self::KeyShare | Self::NoKeyUpdate) | (Self::NoKeyUpdate, Self::KeyShare) => {
                false
            }
            (Self::KeyShare, Self::Update)
            | (Self::NoKeyUpdate, Self::NoKeyUpdate | Self::Update)
            | (Self::Update, _) => true,
        }
    }
}

/// Tells whether whoever is waited for waits for the waiting one; `waits` gives for each that waits whom it waits for.
pub(crate) fn is_deadlock(tx: Tx, blocker: Tx, waits: impl Iterator<Item = (Tx, Tx)>) -> bool {
    let waits: BTreeMap<Tx, Tx> = waits.collect();
    let mut at = blocker;
    for _ in 0..=waits.len() {
        if at == tx {
            return true;
        }
        let Some(next) = waits.get(&at) else { return false };
        at = *next;
    }
    false
}

/// All locks of all transactions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locks {
    held: BTreeMap<Place, Vec<(Tx, Mode)>>,
    /// Rises whenever locks were released.
    pub(crate) epoch: u64,
}

impl Locks {
    /// Locks, or names a transaction to wait for.
    pub(crate) fn lock(&mut self, tx: Tx, place: Place, mode: Mode) -> Result<(), Tx> {
        let holders = self.held.entry(place).or_default();
        let blocker = holders.iter().find(|(holder, held)| *holder != tx && held.conflicts(mode));
        if let Some((blocker, _)) = blocker {
            return Err(*blocker);
        }
        match holders.iter_mut().find(|(holder, _)| *holder == tx) {
            Some((_, held)) => *held = (*held).max(mode),
            None => holders.push((tx, mode)),
        }
        Ok(())
    }

    /// Locks what is free; gives whether it was: `skip locked`.
    pub(crate) fn try_lock(&mut self, tx: Tx, place: Place, mode: Mode) -> bool {
        self.lock(tx, place, mode).is_ok()
    }

    /// All that is held, and by whom.
    pub(crate) fn held(&self) -> impl Iterator<Item = (&Place, &[(Tx, Mode)])> {
        self.held
            .iter()
            .filter(|(_, holders)| !holders.is_empty())
            .map(|(place, holders)| (place, holders.as_slice()))
    }

    /// Releases all that the transaction holds.
    pub(crate) fn release(&mut self, tx: Tx) {
        self.epoch += 1;
        self.held.retain(|_, holders| {
            holders.retain(|(holder, _)| *holder != tx);
            !holders.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_of_a_lane_pass_each_other_and_a_take_over_passes_nobody() {
        let lane = || Place::Lane(LaneId(1));
        let mut locks = Locks::default();
        assert_eq!(locks.lock(Tx(1), lane(), Mode::KeyShare), Ok(()));
        assert_eq!(locks.lock(Tx(2), lane(), Mode::KeyShare), Ok(()));
        assert_eq!(locks.lock(Tx(3), lane(), Mode::NoKeyUpdate), Ok(()));
        assert!(!locks.try_lock(Tx(4), lane(), Mode::Update));
        assert_eq!(locks.lock(Tx(4), lane(), Mode::NoKeyUpdate), Err(Tx(3)));
        for tx in [1, 2, 3] {
            locks.release(Tx(tx));
        }
        assert!(locks.try_lock(Tx(4), lane(), Mode::Update));
        assert_eq!(locks.lock(Tx(1), lane(), Mode::KeyShare), Err(Tx(4)));
    }
}
