//! File descriptors, of which each consumer needs some: librdkafka would wait for ever for one that the system does not
//! give.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A consumer's at most, on a cluster of three brokers: for each broker, the coordinator and the first connection a
/// socket and a pipe, and a little for itself.
const OF_A_CONSUMER: u64 = 20;
/// Descriptors that are left for Postgres, the producers, guests' connections and files.
const OF_ALL_ELSE: u64 = 100;

/// The system gives too few.
#[derive(Debug, thiserror::Error)]
#[error(
    "the process has {open} of at most {limit} file descriptors open, and a consumer may need {OF_A_CONSUMER}: raise \
     `ulimit -n`, or LimitNOFILE in its unit; with many handlers to {OF_A_CONSUMER} for each and {OF_ALL_ELSE} more"
)]
pub(super) struct TooFew {
    open: u64,
    limit: u64,
}

/// Raises the limit as far as this process may: descriptors beyond what old programs bear hurt nothing here.
pub(super) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(%error, "Raising the limit of file descriptors");
    }
}

/// Tells whether one more consumer can be made.
///
/// # Errors
/// Where too few descriptors are left, with the remedy.
pub(super) fn room_for_a_consumer() -> Result<(), TooFew> {
    let (Some(limit), Some(open)) = (getrlimit(Resource::Nofile).current, open()) else { return Ok(()) };
    judge(open, limit)
}

fn judge(open: u64, limit: u64) -> Result<(), TooFew> {
    let is_enough = open.saturating_add(OF_A_CONSUMER + OF_ALL_ELSE) <= limit;
    if is_enough { Ok(()) } else { Err(TooFew { open, limit }) }
}

/// Counts the descriptors that are open; none where the system does not say.
fn open() -> Option<u64> {
    u64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_refused_before_the_last_descriptors_go_to_it() {
        assert!(judge(50, 1024).is_ok() && judge(904, 1024).is_ok());
        let refused = judge(905, 1024).unwrap_err().to_string();
        assert!(refused.contains("905 of at most 1024") && refused.contains("ulimit -n"), "{refused}");
        assert!(judge(0, 64).is_err() && judge(u64::MAX, 1024).is_err());
    }
}
