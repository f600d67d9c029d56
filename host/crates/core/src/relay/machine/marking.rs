//! Marking what was acknowledged and what is refused.

use std::sync::Arc;

use super::super::{Command, Failure, MarkBatch, Marked};
use super::RelayMachine;

impl<R: Clone> RelayMachine<R> {
    pub(super) fn has_marks(&self) -> bool {
        !(self.acknowledged.is_empty() && self.refused.is_empty())
    }

    pub(super) fn start_mark(&mut self) {
        if self.marking.is_some() || !self.has_marks() || self.mark_after > self.now {
            return;
        }
        let mut published = std::mem::take(&mut self.acknowledged);
        let mut refused = std::mem::take(&mut self.refused);
        // A lane that was lost meanwhile: its rows are another's to publish and mark.
        published.retain(|published| self.lanes.has(published.row.lane));
        refused.retain(|(row, _)| self.lanes.has(row.lane));
        if published.is_empty() && refused.is_empty() {
            return;
        }
        let batch = Arc::new(MarkBatch { published, refused });
        self.marking = Some(Arc::clone(&batch));
        self.commands.push(Command::Mark(batch));
    }

    /// A mark has ended. One whose reply was lost needs no doubt: the same rows are marked again, by their ids, and
    /// those that were are not hit.
    pub(super) fn marked(&mut self, marked: Result<Marked, Failure>) {
        let Some(batch) = self.marking.take() else { return };
        match marked {
            Ok(Marked::Done) => {
                let published = batch.published.iter().map(|published| &published.row);
                for row in published.chain(batch.refused.iter().map(|(row, _)| row)) {
                    self.lanes.done(row.lane, row.seq, self.looks.begun);
                }
                return;
            }
            Ok(Marked::LanesLost(lost)) => lost.into_iter().for_each(|lane| self.lose_lane(lane)),
            Err(failure) => self.mark_after = self.now + failure.wait,
        }
        let batch = Arc::unwrap_or_clone(batch);
        self.acknowledged.extend(batch.published);
        self.refused.extend(batch.refused);
    }
}
