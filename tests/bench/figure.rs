//! Figures that were measured, as plain values.

/// Messages a second of mailroom and of its floor, the best of some rounds: what else the machine does
/// makes a run slower, never faster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rates {
    pub(crate) mailroom: f64,
    pub(crate) floor: f64,
    /// Rate of the same host with a native handler, where that and not the floor is what the aim is about.
    pub(crate) native: Option<f64>,
    /// The ratio that is aimed at.
    pub(crate) aim: f64,
}

/// Delays of messages, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Delays {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Length of a call, in microseconds: the best of some rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Call {
    pub(crate) median_us: f64,
    pub(crate) p99_us: f64,
    /// The median that is aimed at.
    pub(crate) aim_us: Option<f64>,
}

/// A handler beside others, and alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Neighbour {
    pub(crate) quiet: Paced,
    pub(crate) beside: Paced,
}

/// Result of messages that were sent one by one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Paced {
    pub(crate) per_sec: f64,
    pub(crate) delays: Delays,
}

/// Activity of a host while there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Idle {
    /// `statements` where Postgres counts them, else `transactions`.
    pub(crate) counted: &'static str,
    pub(crate) per_sec: f64,
    /// Percent of one core.
    pub(crate) cpu_percent: f64,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) of: &'static str,
    pub(crate) is: Measured,
}

/// Figures of one scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measured {
    Rates(Rates),
    /// Delays, with what they should be.
    Delays(Delays, &'static str),
    Neighbour(Neighbour),
    Idle(Idle),
    Call(Call),
}

impl Rates {
    /// Nothing was run yet.
    pub(crate) fn aiming_at(aim: f64) -> Self {
        Self { mailroom: 0.0, floor: 0.0, native: None, aim }
    }

    /// Returns the ratio that the aim is about: to the native handler, else to the floor.
    pub(crate) fn ratio(self) -> f64 {
        self.mailroom / self.native.unwrap_or(self.floor)
    }

    /// One more run of each.
    pub(crate) fn add(&mut self, mailroom: f64, floor: f64) {
        self.mailroom = self.mailroom.max(mailroom);
        self.floor = self.floor.max(floor);
    }
}

impl Call {
    /// Nothing was run yet.
    pub(crate) fn slowest(aim_us: Option<f64>) -> Self {
        Self { median_us: f64::INFINITY, p99_us: f64::INFINITY, aim_us }
    }

    /// One more round; that with the best median counts.
    pub(crate) fn add(&mut self, median_us: f64, p99_us: f64) {
        if median_us < self.median_us {
            *self = Self { median_us, p99_us, ..*self };
        }
    }
}

impl Neighbour {
    /// Returns what is left of the rate.
    pub(crate) fn rate_ratio(self) -> f64 {
        self.beside.per_sec / self.quiet.per_sec
    }

    /// Returns how many times as long the slowest take.
    pub(crate) fn p99_ratio(self) -> f64 {
        self.beside.delays.p99_ms / self.quiet.delays.p99_ms
    }
}

impl Delays {
    /// The middle and the 99th percentile; `None` of nothing.
    pub(crate) fn of(mut delays_ms: Vec<f64>) -> Option<Self> {
        delays_ms.sort_by(f64::total_cmp);
        Some(Self { p50_ms: at(&delays_ms, 50)?, p99_ms: at(&delays_ms, 99)? })
    }
}

/// The smallest that `percent` of them do not exceed.
fn at(sorted: &[f64], percent: usize) -> Option<f64> {
    let place = (sorted.len() * percent).div_ceil(100);
    sorted.get(place.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_round_of_each_counts() {
        let mut rates = Rates::aiming_at(0.5);
        for (mailroom, floor) in [(10.0, 30.0), (20.0, 25.0), (15.0, 20.0)] {
            rates.add(mailroom, floor);
        }
        assert_eq!(rates, Rates { mailroom: 20.0, floor: 30.0, native: None, aim: 0.5 });
        assert_eq!(Rates { native: Some(40.0), ..rates }.ratio(), 0.5);
    }

    #[test]
    fn the_round_with_the_best_median_counts_whole() {
        let mut call = Call::slowest(Some(20.0));
        for (median, p99) in [(12.0, 20.0), (11.0, 30.0), (13.0, 14.0)] {
            call.add(median, p99);
        }
        assert_eq!(call, Call { median_us: 11.0, p99_us: 30.0, aim_us: Some(20.0) });
    }

    #[test]
    fn percentiles_are_of_the_sorted_delays() {
        let delays = (1..=200).rev().map(f64::from).collect();
        assert_eq!(Delays::of(delays), Some(Delays { p50_ms: 100.0, p99_ms: 198.0 }));
        assert_eq!(Delays::of(vec![7.0]), Some(Delays { p50_ms: 7.0, p99_ms: 7.0 }));
        assert_eq!(Delays::of(Vec::new()), None);
    }
}
