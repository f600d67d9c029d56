//! Tells of records that were dropped as duplicates, at most once a minute.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::reminder::Reminder;
use crate::settle::Dropped;

/// Log of one handler about duplicates.
#[derive(Debug, Default)]
pub(super) struct DropLog(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// Records that no line has counted yet.
    untold: usize,
    reminder: Reminder,
}

impl DropLog {
    /// Takes what a settlement dropped.
    pub(super) fn note(&self, handler: &str, dropped: &Dropped) {
        let Some(records) = self.due(dropped.records, Instant::now()) else { return };
        let example =
            dropped.example.as_ref().map_or_else(String::new, |example| format!(", such as: {example}"));
        tracing::warn!(
            handler.name = handler,
            "{handler} dropped {records} records whose ids it had already{example}. `mailroom inbox list --duplicates` \
             shows the last ones"
        );
    }

    /// Gives how many records a line is about, if one is due.
    fn due(&self, records: usize, now: Instant) -> Option<usize> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.untold += records;
        told.reminder.is_due(now).then(|| std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_a_minute_counts_all_that_were_dropped_since_the_last() {
        let (log, start) = (DropLog::default(), Instant::now());
        let after = |seconds, records| log.due(records, start + Duration::from_secs(seconds));
        assert_eq!(after(0, 1), Some(1));
        assert_eq!(after(1, 2), None);
        assert_eq!(after(59, 3), None);
        assert_eq!(after(60, 4), Some(9));
        assert_eq!(after(61, 1), None);
        assert_eq!(after(600, 1), Some(2));
    }
}
