//! Waits of this process beside messages: its row in Postgres shows them to `mailroom status` on every
//! machine.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Waits of a process that are shown; the oldest are.
const SHOWN_MAX: usize = 50;
/// Characters that are shown of a reason.
const WHY_MAX: usize = 500;

/// A wait as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// Name of what is waited for.
    pub(crate) what: String,
    /// The reason, and the remedy where there is one.
    pub(crate) why: String,
    /// Moment at which it began, by the clock of the process that waits.
    pub(crate) since: DateTime<Utc>,
}

/// The waits of one process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    waits: BTreeMap<u64, Shown>,
    last: u64,
}

impl Waits {
    /// Notes that something is waited for until what this gives is dropped.
    pub(crate) fn begin(&self, what: impl Into<String>, why: &dyn Display) -> Wait {
        let mut known = self.known();
        known.last += 1;
        let id = known.last;
        known.waits.insert(id, Shown { what: what.into(), why: shortened(why), since: Utc::now() });
        Wait { waits: self.clone(), id }
    }

    /// Gives the waits as others see them, the oldest first. What several wait for is one, with its last reason.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let known = self.known();
        let mut shown: Vec<Shown> = Vec::new();
        for wait in known.waits.values() {
            if let Some(other) = shown.iter_mut().find(|other| other.what == wait.what) {
                other.why.clone_from(&wait.why);
            } else if shown.len() < SHOWN_MAX {
                shown.push(wait.clone());
            }
        }
        shown
    }

    /// No code that can panic runs under the lock.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that is waited for; the wait ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Wait {
    waits: Waits,
    id: u64,
}

impl Wait {
    /// Takes the reason why it still lasts.
    pub(crate) fn lasts(&self, why: &dyn Display) {
        if let Some(shown) = self.waits.known().waits.get_mut(&self.id) {
            shown.why = shortened(why);
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waits.known().waits.remove(&self.id);
    }
}

fn shortened(why: &dyn Display) -> String {
    why.to_string().chars().take(WHY_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(waits: &Waits) -> Vec<String> {
        waits.shown().into_iter().map(|shown| format!("{}: {}", shown.what, shown.why)).collect()
    }

    #[test]
    fn a_wait_is_shown_until_it_is_dropped() {
        let waits = Waits::default();
        let topic = waits.begin("topic a", &"it has no leader");
        let postgres = waits.begin("Postgres", &"refused");
        topic.lasts(&"nothing was acknowledged");
        assert_eq!(words(&waits), ["topic a: nothing was acknowledged", "Postgres: refused"]);
        drop(topic);
        assert_eq!(words(&waits), ["Postgres: refused"]);
        drop(postgres);
        assert_eq!(waits.shown(), []);
    }

    #[test]
    fn what_several_wait_for_is_shown_once_with_the_last_reason() {
        let waits = Waits::default();
        let _loops = [waits.begin("Postgres", &"refused"), waits.begin("Postgres", &"timed out")];
        assert_eq!(words(&waits), ["Postgres: timed out"]);
    }

    #[test]
    fn as_much_is_shown_as_fits_a_row() {
        let waits = Waits::default();
        let held: Vec<Wait> =
            (0..200).map(|n| waits.begin(format!("topic {n}"), &"x".repeat(9000))).collect();
        let shown = waits.shown();
        assert_eq!(shown.len(), SHOWN_MAX);
        assert!(shown.iter().all(|shown| shown.why.len() == WHY_MAX));
        drop(held);
    }
}
