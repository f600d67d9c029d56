//! Places in the order of the inbox that were drawn ahead.

use std::collections::VecDeque;

/// The sequence gave a place below one that is known: Postgres failed over and lost what it had given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SequenceFellBack {
    /// The highest place known.
    pub known: i64,
    /// The lowest that was drawn below it.
    pub drawn: i64,
}

/// Drawn places that are left. Each lies above all that were given or known before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SeqStock {
    left: VecDeque<i64>,
    /// The highest place that was drawn, or that a lane's last owner may have written.
    highest: i64,
}

impl SeqStock {
    /// Places up to this one were given out to others: what is given from now on lies above.
    pub fn known(&mut self, last: i64) {
        self.left.retain(|seq| *seq > last);
        self.highest = self.highest.max(last);
    }

    /// Returns how many more are to be drawn so that `wanted` can be given.
    #[must_use]
    pub fn lacks(&self, wanted: usize) -> usize {
        wanted.saturating_sub(self.left.len())
    }

    /// Adds drawn places. Those that do not lie above all known ones are thrown away.
    ///
    /// # Errors
    /// Where any was: the caller tells of it, and draws on until there are enough.
    pub fn add(&mut self, drawn: impl IntoIterator<Item = i64>) -> Result<(), SequenceFellBack> {
        let known = self.highest;
        let mut lowest: Option<i64> = None;
        for seq in drawn {
            if seq > self.highest {
                self.highest = seq;
                self.left.push_back(seq);
            } else {
                lowest = Some(lowest.map_or(seq, |lowest| lowest.min(seq)));
            }
        }
        match lowest {
            None => Ok(()),
            Some(drawn) => {
                // What was drawn before the fall may be given out again, to another host.
                self.left.retain(|seq| *seq > known);
                Err(SequenceFellBack { known, drawn })
            }
        }
    }

    /// The lowest place that is left.
    pub fn give(&mut self) -> Option<i64> {
        self.left.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(stock: &mut SeqStock) -> Vec<i64> {
        std::iter::from_fn(|| stock.give()).collect()
    }

    #[test]
    fn what_a_lanes_last_owner_may_have_written_is_not_given() {
        let mut stock = SeqStock::default();
        assert_eq!(stock.add(1..=5), Ok(()));
        stock.known(3);
        assert_eq!(stock.lacks(4), 2);
        assert_eq!(given(&mut stock), [4, 5]);
    }

    #[test]
    fn after_a_fall_back_nothing_is_given_that_does_not_lie_above_all_known() {
        let mut stock = SeqStock::default();
        assert_eq!(stock.add(101..=104), Ok(()));
        assert_eq!(stock.give(), Some(101));
        let fell = stock.add(70..=73).unwrap_err();
        assert_eq!((fell.known, fell.drawn), (104, 70));
        assert_eq!(stock.lacks(2), 2, "the stock from before the fall is thrown away");
        assert!(stock.add(100..=106).is_err());
        assert_eq!(given(&mut stock), [105, 106]);
    }
}
