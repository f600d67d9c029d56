//! Topics that rows go to: those that are there, and those that are missing, closed to us, or not known yet.
//!
//! Rows of a held topic are not read at all; when it is let go its lanes are set back to where they
//! stood when the hold began, so that the first of its rows goes first. A topic that is met for the first
//! time is held until Kafka was asked for it, beside everything else.

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
    /// Whether the log tells of it.
    told: bool,
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

    /// When the next is to be asked for.
    pub(super) fn next_ask(&self) -> Option<Instant> {
        self.held.values().map(|held| held.ask_at).min()
    }

    /// Topics of these rows that were never asked for.
    pub(super) fn unknown(&self, rows: &[Pending]) -> HashSet<String> {
        let fit = rows.iter().filter(|row| record::unfit(row).is_none()).map(|row| &row.topic);
        fit.filter(|topic| !self.there.contains(*topic) && !self.held.contains_key(*topic)).cloned().collect()
    }

    /// Its rows wait until it was asked for, which is due.
    pub(super) fn meet(&mut self, topic: String, floors: HashMap<i32, i64>) {
        self.held.insert(topic, Held { ask_at: Instant::now(), told: false, floors });
    }

    /// Its rows wait from now on.
    pub(super) fn hold(&mut self, topic: &str, why: &str, floors: impl FnOnce() -> HashMap<i32, i64>) {
        self.there.remove(topic);
        let ask_at = Instant::now() + ASK_EVERY;
        let held = self.held.entry(topic.to_owned());
        let held = held.or_insert_with(|| Held { ask_at, told: false, floors: floors() });
        held.ask_at = ask_at;
        if !held.told {
            held.told = true;
            tracing::warn!(messaging.destination.name = topic, "Messages to topic {topic} wait: {why}");
        }
    }

    /// Rows of this lane above `floor` may be held ones though they were known, or were not there, when the
    /// holds began.
    pub(super) fn lower(&mut self, lane: i32, floor: i64) {
        for held in self.held.values_mut() {
            held.floors.entry(lane).and_modify(|of_lane| *of_lane = floor.min(*of_lane));
        }
    }

    /// The same of all lanes.
    pub(super) fn lower_all(&mut self, floor: i64) {
        let floors = self.held.values_mut().flat_map(|held| held.floors.values_mut());
        floors.for_each(|of_lane| *of_lane = floor.min(*of_lane));
    }

    /// It is there; where it was held, gives the floors of its lanes.
    pub(super) fn let_go(&mut self, topic: &str) -> Option<HashMap<i32, i64>> {
        self.there.insert(topic.to_owned());
        let held = self.held.remove(topic)?;
        if held.told {
            tracing::info!(messaging.destination.name = topic, "Messages to topic {topic} go on");
        }
        Some(held.floors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_is_met_is_asked_for_at_once_and_a_missing_one_now_and_then() {
        let mut book = TopicBook::default();
        book.meet("orders".to_owned(), HashMap::from([(7, 40)]));
        assert!(book.holds("orders") && book.due() == ["orders"]);
        book.hold("orders", "it is missing", || HashMap::from([(7, 90)]));
        assert!(book.due().is_empty() && book.next_ask().is_some());
        assert_eq!(book.let_go("orders"), Some(HashMap::from([(7, 40)])), "as of the first hold");
        assert!(!book.holds("orders") && book.next_ask().is_none());
    }

    #[test]
    fn floors_only_fall_and_a_lane_that_has_none_is_read_from_its_start() {
        let mut book = TopicBook::default();
        book.meet("orders".to_owned(), HashMap::from([(7, 40), (8, 40)]));
        book.lower(7, 60);
        book.lower(7, 30);
        book.lower(9, 10);
        book.lower_all(35);
        assert_eq!(book.let_go("orders"), Some(HashMap::from([(7, 30), (8, 35)])));
    }
}
