//! The circuit breaker of one handler, as one host sees it. **Closed**: calls pass. **Open**: nothing is
//! started. **Half-open**: one probe at a time decides. Pure: times are passed in.
//!
//! Only the ends of executed calls move it; what was not started says nothing about the handler.

use super::policy::BreakerPolicy;
use crate::time::Moment;

/// Evidence that the end of a call gives about its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sign {
    /// The handler did its work.
    Good,
    /// The handler faulted.
    Fault,
    /// No evidence: the handler asked for patience, or the host failed.
    None,
}

/// Change that the breaker wants its host to announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Nothing.
    Stay,
    /// Tell all hosts: open from now on, for the recovery time.
    Open,
    /// Tell all hosts: closed.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Closed { faults: u32 },
    Open { until: Moment },
    HalfOpen,
}

/// One handler's breaker.
#[derive(Debug, Clone, Hash)]
pub struct Breaker {
    state: State,
}

impl Breaker {
    /// Creates one that lets calls pass.
    #[must_use]
    pub fn closed() -> Self {
        Self { state: State::Closed { faults: 0 } }
    }

    /// Returns how many more calls may start while `running` run. Closed, no more run at once than could open
    /// it: a handler that always faults is called exactly `threshold` times.
    pub fn room(&self, policy: BreakerPolicy, running: usize) -> usize {
        let most = match self.state {
            State::Closed { faults } => policy.threshold.saturating_sub(faults).max(1),
            State::Open { .. } => 0,
            State::HalfOpen => 1,
        };
        usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(running)
    }

    /// Returns when a probe may be asked for; `None` while it is not open.
    pub fn probe_at(&self) -> Option<Moment> {
        match self.state {
            State::Open { until } => Some(until),
            State::Closed { .. } | State::HalfOpen => None,
        }
    }

    /// A call ended.
    pub fn ended(&mut self, sign: Sign, policy: BreakerPolicy, now: Moment) -> Move {
        match (self.state, sign) {
            (_, Sign::None) | (State::Open { .. }, _) => Move::Stay,
            (State::Closed { .. }, Sign::Good) => {
                self.state = State::Closed { faults: 0 };
                Move::Stay
            }
            (State::Closed { faults }, Sign::Fault) if faults + 1 < policy.threshold => {
                self.state = State::Closed { faults: faults + 1 };
                Move::Stay
            }
            (State::HalfOpen, Sign::Good) => {
                self.state = State::Closed { faults: 0 };
                Move::Close
            }
            (State::Closed { .. } | State::HalfOpen, Sign::Fault) => {
                self.state = State::Open { until: now + policy.recovery };
                Move::Open
            }
        }
    }

    /// This host was given the probe.
    pub fn probe(&mut self) {
        self.state = State::HalfOpen;
    }

    /// Takes over what the table says, which other hosts write too: open until then, or closed.
    pub fn learned(&mut self, open_until: Option<Moment>) {
        match (self.state, open_until) {
            (State::HalfOpen, Some(_)) => {}
            (_, Some(until)) => self.state = State::Open { until },
            (State::Open { .. }, None) => self.state = State::Closed { faults: 0 },
            (State::Closed { .. } | State::HalfOpen, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy { threshold: 3, recovery: Duration::from_secs(60) };

    #[test]
    fn it_opens_after_consecutive_faults_and_a_good_probe_closes_it() {
        let now = Moment(1000);
        let mut breaker = Breaker::closed();
        assert_eq!(breaker.room(POLICY, 0), 3, "no more at once than could open it");
        for sign in [Sign::Fault, Sign::Fault, Sign::Good, Sign::Fault, Sign::None, Sign::Fault] {
            assert_eq!(breaker.ended(sign, POLICY, now), Move::Stay, "a good end starts the count anew");
        }
        assert_eq!(breaker.room(POLICY, 0), 1);
        assert_eq!(breaker.ended(Sign::Fault, POLICY, now), Move::Open);
        assert_eq!((breaker.room(POLICY, 0), breaker.probe_at()), (0, Some(now + POLICY.recovery)));
        assert_eq!(breaker.ended(Sign::Good, POLICY, now), Move::Stay, "a late end does not close it");
        breaker.probe();
        assert_eq!((breaker.room(POLICY, 0), breaker.room(POLICY, 1)), (1, 0), "one probe at a time");
        assert_eq!(breaker.ended(Sign::Fault, POLICY, now), Move::Open);
        breaker.probe();
        assert_eq!(breaker.ended(Sign::Good, POLICY, now), Move::Close);
        assert_eq!(breaker.room(POLICY, 0), 3);
    }

    #[test]
    fn other_hosts_open_and_close_it() {
        let now = Moment(1000);
        let mut breaker = Breaker::closed();
        breaker.learned(Some(now));
        assert_eq!(breaker.room(POLICY, 0), 0);
        breaker.learned(None);
        assert_eq!(breaker.room(POLICY, 0), 3);
        breaker.learned(Some(now));
        breaker.probe();
        breaker.learned(Some(now));
        assert_eq!(breaker.room(POLICY, 0), 1, "the row stays open while this host probes");
    }
}
