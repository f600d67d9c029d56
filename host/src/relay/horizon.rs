//! Up to which `seq` nothing can appear any more.
//!
//! Producers commit out of the order of `seq`: a lower one may become visible after higher ones were
//! read. A look at the table gives the highest `seq` drawn by then; a later look takes a transaction id
//! of its own. Whoever drew a `seq` up to that value had an id before (the table's trigger sees to it), so
//! a lower one. Once a look's snapshot says that all ids up to ours have ended, whatever they committed is
//! seen by every look that begins after it. So a read that starts at the lower of the last `seq` read and
//! the horizon misses nothing, and a transaction that stays open for an hour delays nobody but itself.
//!
//! A snapshot's own xmax would not do for the id: it is one past the last transaction that *ended*, and
//! those that are open may lie above it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// A sample costs a transaction id; rows between the horizon and the mark are read once more meanwhile.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// More samples than this wait only where a transaction stays open; the newest is then left out.
const SAMPLES_MAX: usize = 64;

/// The horizon, and the samples that wait to become it.
#[derive(Debug, Default)]
pub(super) struct Horizon {
    seq: i64,
    /// The highest `seq` that the last look saw drawn.
    drawn: i64,
    /// (`seq`, a transaction id above those of all who can have drawn it), oldest first.
    samples: VecDeque<(i64, i64)>,
    sampled_at: Option<Instant>,
}

impl Horizon {
    /// Reads need not start below it.
    pub(super) fn seq(&self) -> i64 {
        self.seq
    }

    /// Whether the next look is to take a transaction id.
    pub(super) fn wants_sample(&self, now: Instant) -> bool {
        let newest = self.samples.back().map_or(self.seq, |(seq, _)| *seq);
        self.drawn > newest
            && self.samples.len() < SAMPLES_MAX
            && self.sampled_at.is_none_or(|at| now - at >= SAMPLE_EVERY)
    }

    /// Takes in what a look saw: the highest `seq` drawn, the oldest transaction that had not ended when
    /// it began, and its own id where it took one.
    pub(super) fn seen(&mut self, last_seq: i64, xmin: i64, own_id: Option<i64>, now: Instant) {
        if let Some(id) = own_id {
            self.samples.push_back((self.drawn, id));
            self.sampled_at = Some(now);
        }
        self.drawn = last_seq;
        while let Some((seq, id)) = self.samples.front()
            && xmin > *id
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
        let (mut horizon, now) = (Horizon::default(), Instant::now());
        horizon.seen(10, 100, None, now);
        assert!(horizon.wants_sample(now) && horizon.seq() == 0, "one look says nothing about who drew 10");
        // 105 is the id of this look; 100 is open and may hold any seq up to 10.
        horizon.seen(12, 100, Some(105), now);
        assert_eq!(horizon.seq(), 0);
        horizon.seen(12, 105, None, now);
        assert_eq!(horizon.seq(), 0, "the snapshot was taken before our own id had ended");
        horizon.seen(15, 106, None, now);
        assert_eq!(horizon.seq(), 10, "all up to 105 have ended");
    }

    #[test]
    fn a_transaction_that_is_open_above_the_last_that_ended_is_waited_for() {
        let (mut horizon, now) = (Horizon::default(), Instant::now());
        // 1089 drew 7 and is open; nothing ended above it, so every snapshot reads 1089:1089.
        horizon.seen(7, 1089, None, now);
        horizon.seen(7, 1089, Some(1090), now);
        horizon.seen(7, 1089, None, now);
        assert_eq!(horizon.seq(), 0);
        horizon.seen(7, 1091, None, now);
        assert_eq!(horizon.seq(), 7);
    }

    #[test]
    fn samples_are_few_and_an_idle_table_needs_none() {
        let (mut horizon, mut now) = (Horizon::default(), Instant::now());
        let mut taken = 0;
        for look in 0..1_000 {
            now += Duration::from_millis(10);
            let own = horizon.wants_sample(now).then_some(100 + look);
            taken += usize::from(own.is_some());
            horizon.seen(look * 10, 5, own, now);
        }
        assert!(taken <= SAMPLES_MAX && horizon.seq() == 0, "transaction 5 is open: {taken} samples");
        now += SAMPLE_EVERY;
        horizon.seen(10_000, 5_000, None, now);
        assert!(horizon.seq() > 0 && horizon.wants_sample(now), "it ended, and the horizon goes on");
        horizon.seen(10_000, 5_000, Some(6_000), now);
        horizon.seen(10_000, 6_001, None, now);
        assert_eq!(horizon.seq(), 10_000);
        assert!(!horizon.wants_sample(now + SAMPLE_EVERY));
    }
}
