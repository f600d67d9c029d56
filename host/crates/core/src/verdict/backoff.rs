//! Wait of a message before its next attempt: exponential with full jitter, so that messages that failed
//! together do not come back together.

use std::time::Duration;

use super::policy::RetryPolicy;

/// The delay before the attempt after `failures` of them. `chance` is uniform in 0..1.
#[must_use]
pub fn delay(policy: &RetryPolicy, failures: u32, chance: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(63);
    let ceiling = policy.base.as_secs_f64() * 2_f64.powi(i32::try_from(doublings).unwrap_or(63));
    let ceiling = ceiling.min(policy.cap.as_secs_f64());
    Duration::try_from_secs_f64(ceiling * chance.clamp(0.0, 1.0)).unwrap_or(policy.cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy =
        RetryPolicy { attempts_max: 6, base: Duration::from_secs(10), cap: Duration::from_secs(3600) };

    #[test]
    fn the_ceiling_doubles_up_to_the_cap_and_chance_spreads_below_it() {
        for (failures, chance, seconds) in [
            (1, 1.0, 10),
            (2, 1.0, 20),
            (4, 1.0, 80),
            (4, 0.5, 40),
            (4, 0.0, 0),
            (10, 1.0, 3600),
            (u32::MAX, 1.0, 3600),
        ] {
            assert_eq!(delay(&POLICY, failures, chance), Duration::from_secs(seconds), "{failures} failures");
        }
    }
}
