//! The check of what calls read, and the writes of state: each only where nobody else has written since.

use std::collections::{BTreeMap, BTreeSet};

use mailroom_core::ids::{LaneId, Seq};

use super::locks::{Mode, Place};
use super::table::Tx;
use super::{Postgres, StateId, StateRow};
use crate::guest::{Effects, StateWrite};

/// The effects of a message that was hit.
pub(crate) type OfMessage<'e> = ((LaneId, Seq), &'e Effects);

struct Folded<'e> {
    /// The version that the first of them read; `None` where that does not matter.
    read: Option<i64>,
    last: &'e StateWrite,
    of: Vec<(LaneId, Seq)>,
}

impl Postgres {
    fn version(&self, tx: Tx, id: StateId) -> i64 {
        self.state.get(tx, &id).map_or(0, |row| row.version)
    }

    /// Messages with effects that read what is not so any more. What the batch itself writes is checked by the
    /// writes.
    pub(crate) fn stale_reads(&self, tx: Tx, effects: &[OfMessage<'_>]) -> BTreeSet<(LaneId, Seq)> {
        let writes = effects.iter().flat_map(|(_, effects)| &effects.writes);
        let written: BTreeSet<(StateId, i64)> = writes.map(|write| (write.id, write.written)).collect();
        let stale = effects.iter().filter(|(_, effects)| {
            !effects.is_nothing()
                && !effects.once
                && effects.reads.iter().any(|read| {
                    !written.contains(&(read.id, read.version)) && self.version(tx, read.id) != read.version
                })
        });
        stale.map(|(of, _)| *of).collect()
    }

    /// Writes state, in the order of the messages; gives those that lost a race, or whom to wait for.
    pub(crate) fn write_state(
        &mut self,
        tx: Tx,
        effects: &[OfMessage<'_>],
    ) -> Result<BTreeSet<(LaneId, Seq)>, Tx> {
        let mut folded: BTreeMap<StateId, Folded<'_>> = BTreeMap::new();
        let mut lost = BTreeSet::new();
        for (of, effects) in effects {
            for write in &effects.writes {
                match folded.get_mut(&write.id) {
                    None => {
                        folded.insert(
                            write.id,
                            Folded {
                                read: (!effects.once).then_some(write.read),
                                last: write,
                                of: vec![*of],
                            },
                        );
                    }
                    Some(fold) if fold.last.written == write.read || effects.once => {
                        fold.last = write;
                        fold.of.push(*of);
                    }
                    Some(_) => {
                        lost.insert(*of);
                    }
                }
            }
        }
        for id in folded.keys() {
            self.locks.lock(tx, Place::State(*id), Mode::NoKeyUpdate)?;
        }
        for (id, fold) in folded {
            if fold.read.is_none_or(|read| self.version(tx, id) == read) {
                let row = StateRow { version: fold.last.written, value: fold.last.value };
                self.state.put(tx, id, Some(row));
            } else {
                lost.extend(fold.of);
            }
        }
        Ok(lost)
    }
}
