//! Topics that rows go to: those that are there, and those that are missing or closed to us.
//!
//! Rows of a held topic are not read at all; when it is let go its lanes are set back to where they
//! stood when the hold began, so that the first of its rows goes first.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::record;
use crate::outbox::Pending;

/// A held topic is asked for this often.
const ASK_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Held {
    ask_at: Instant,
    /// Per lane: nothing of the topic up to there waits.
    floors: HashMap<i32, i64>,
}

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct TopicBook {
    there: HashSet<String>,
    held: HashMap<String, Held>,
}

impl TopicBook {
    /// Whether its rows wait.
    pub(super) fn holds(&self, topic: &str) -> bool {
        self.held.contains_key(topic)
    }

    /// The held ones.
    pub(super) fn held(&self) -> Vec<String> {
        self.held.keys().cloned().collect()
    }

    /// Held ones that are to be asked for now.
    pub(super) fn due(&self) -> Vec<String> {
        let now = Instant::now();
        self.held.iter().filter(|(_, held)| held.ask_at <= now).map(|(topic, _)| topic.clone()).collect()
    }

    /// Topics of these rows that were never asked for.
    pub(super) fn unknown(&self, rows: &[Pending]) -> HashSet<String> {
        let fit = rows.iter().filter(|row| record::unfit(row).is_none()).map(|row| &row.topic);
        fit.filter(|topic| !self.there.contains(*topic) && !self.held.contains_key(*topic)).cloned().collect()
    }

    /// Its rows wait from now on.
    pub(super) fn hold(&mut self, topic: &str, why: &str, floors: impl FnOnce() -> HashMap<i32, i64>) {
        self.there.remove(topic);
        let ask_at = Instant::now() + ASK_EVERY;
        if let Some(held) = self.held.get_mut(topic) {
            held.ask_at = ask_at;
            return;
        }
        tracing::warn!(messaging.destination.name = topic, "Messages to topic {topic} wait: {why}");
        self.held.insert(topic.to_owned(), Held { ask_at, floors: floors() });
    }

    /// It is there; where it was held, gives the floors of its lanes.
    pub(super) fn let_go(&mut self, topic: &str) -> Option<HashMap<i32, i64>> {
        self.there.insert(topic.to_owned());
        let held = self.held.remove(topic)?;
        tracing::info!(messaging.destination.name = topic, "Messages to topic {topic} go on");
        Some(held.floors)
    }
}
