//! Watches over the sequences from which messages and lanes get their numbers: where one was set back, numbers are given
//! again, and what is written under them is taken for something else.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::db::{Db, sequences};

/// Pause between two looks; the first is at the start.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The same where a look failed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Names those that stand too low, as often as it looks, until it is stopped.
pub(crate) async fn watch(db: Db, stop: CancellationToken) {
    loop {
        let looked = tokio::select! {
            () = stop.cancelled() => return,
            looked = sequences::too_low(&db) => looked,
        };
        let pause = match looked {
            Ok(too_low) => {
                for sequence in too_low {
                    tracing::error!("The sequence {}", sequence.with_remedy());
                }
                LOOK_EVERY
            }
            Err(error) => {
                tracing::debug!(%error, "Sequences are looked at later");
                LOOK_AGAIN_AFTER
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
