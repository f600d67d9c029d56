//! Up to which `seq` nothing can appear any more.
//!
//! Producers commit out of the order of `seq`: a lower one may become visible after higher ones were
//! read. A look at the table gives the highest `seq` drawn by then. The next look's snapshot knows all
//! transactions that can have drawn it: those below its xmax. Once a later look's xmin has reached that
//! xmax they have all ended, and a look that begins after this sees whatever they committed. So a read
//! that starts at the lower of the last `seq` read and the horizon misses nothing, and a transaction
//! that stays open for an hour delays nobody but itself.

use std::collections::VecDeque;

/// More samples than this wait only where a transaction stays open; the newest then replaces the last.
const SAMPLES_MAX: usize = 64;

/// The horizon, and the samples that wait to become it.
#[derive(Debug, Default)]
pub(super) struct Horizon {
    seq: i64,
    /// The highest `seq` of the look before.
    drawn: Option<i64>,
    /// (`seq`, xmax of the look after it), oldest first.
    samples: VecDeque<(i64, i64)>,
}

impl Horizon {
    /// Reads need not start below it.
    pub(super) fn seq(&self) -> i64 {
        self.seq
    }

    /// Takes in what a look saw.
    pub(super) fn seen(&mut self, last_seq: i64, xmin: i64, xmax: i64) {
        if let Some(drawn) = self.drawn.replace(last_seq)
            && self.samples.back().is_none_or(|(seq, _)| *seq < drawn)
        {
            if self.samples.len() == SAMPLES_MAX {
                self.samples.pop_back();
            }
            self.samples.push_back((drawn, xmax));
        }
        while let Some((seq, ended)) = self.samples.front()
            && xmin >= *ended
        {
            self.seq = self.seq.max(*seq);
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_horizon_waits_for_the_oldest_transaction_that_may_hold_a_lower_seq() {
        let mut horizon = Horizon::default();
        horizon.seen(10, 100, 105);
        assert_eq!(horizon.seq(), 0, "one look says nothing about who drew 10");
        horizon.seen(12, 100, 107);
        assert_eq!(horizon.seq(), 0, "transaction 100 is open and may hold any seq up to 10");
        horizon.seen(15, 107, 110);
        assert_eq!(horizon.seq(), 10, "all below 107 have ended");
        horizon.seen(15, 112, 112);
        assert_eq!(horizon.seq(), 15);
    }

    #[test]
    fn a_long_transaction_costs_bounded_memory() {
        let mut horizon = Horizon::default();
        for look in 0..1_000 {
            horizon.seen(look * 10, 5, 100 + look);
        }
        assert_eq!(horizon.seq(), 0);
        assert!(horizon.samples.len() <= SAMPLES_MAX);
        horizon.seen(10_000, 5_000, 5_000);
        assert_eq!(horizon.seq(), 9_990, "when it ends, the horizon leaps forward");
    }

    #[test]
    fn an_idle_table_needs_no_samples() {
        let mut horizon = Horizon::default();
        for look in 0..10 {
            horizon.seen(7, 100 + look, 100 + look);
        }
        assert_eq!(horizon.seq(), 7);
    }
}
