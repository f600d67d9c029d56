//! Asking Kafka for topics: those that are met for the first time, and held ones now and then.

use tokio::time::Instant;

use super::{Asked, Turns};
use crate::outbox::Pending;

impl Turns {
    /// Topics that are met for the first time are asked for before anything is sent there. Rows of the page
    /// that has them are above `start`.
    pub(super) fn meet(&mut self, rows: &[Pending], start: i64) {
        for topic in self.book.unknown(rows) {
            self.book.meet(topic, self.lanes.floors(start));
        }
    }

    pub(super) fn hold(&mut self, topic: &str, why: &str) {
        let (lanes, horizon) = (&self.lanes, self.horizon.seq());
        self.book.hold(topic, why, || lanes.floors(horizon));
    }

    pub(super) fn start_asking(&mut self) {
        if self.asking.is_some() {
            return;
        }
        let due = self.book.due();
        if !due.is_empty() {
            let topics = self.topics.clone();
            self.asking = Some(Box::pin(async move {
                let missing = topics.missing(&due).await;
                (due, missing)
            }));
        }
    }

    pub(super) fn asked(&mut self, (asked, answer): Asked) {
        let missing = match answer {
            Ok(missing) => missing,
            Err(error) => {
                let why = error.to_string();
                asked.iter().for_each(|topic| self.hold(topic, &why));
                return;
            }
        };
        for topic in asked {
            if missing.contains(&topic) {
                self.hold(&topic, "the topic does not exist, or is closed to us; create it");
            } else if let Some(floors) = self.book.let_go(&topic) {
                self.lanes.set_back_to(&floors);
                self.idle.look_now(Instant::now());
            }
        }
    }
}
