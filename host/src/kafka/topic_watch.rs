//! The host's look at the topics that it reads: once a second in one request, whoever reads them, and at once
//! where something is the matter with one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mailroom_core::time::Moment;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::topics::{TopicState, Topics};
use crate::clock;
use crate::outage::Spoken;
use crate::server_health::ServerHealth;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Interval of the questions whether Kafka answers at all, where nobody wants to know of a topic.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// Shortest pause between two looks, however many errors ask for one.
const LOOK_APART: Duration = Duration::from_millis(200);

/// An answer of the cluster.
#[derive(Debug, Clone)]
pub(crate) struct TopicLook {
    /// Time of the question: the answer says nothing of a moment before it.
    pub(crate) asked_at: Moment,
    pub(crate) topics: Arc<HashMap<String, TopicState>>,
}

/// The looks, and what they are for.
#[derive(Clone)]
pub(crate) struct TopicWatch {
    pub(crate) topics: Topics,
    /// Number of those who want to know of each.
    wanted: Arc<Mutex<BTreeMap<String, usize>>>,
    hurry: Arc<Notify>,
    look: watch::Sender<Option<TopicLook>>,
    health: ServerHealth,
    /// Lets all who wait for Kafka say so together.
    pub(crate) spoken: Spoken,
}

impl TopicWatch {
    pub(crate) fn new(topics: Topics) -> Self {
        Self {
            topics,
            wanted: Arc::default(),
            hurry: Arc::default(),
            look: watch::Sender::new(None),
            health: ServerHealth::default(),
            spoken: Spoken::default(),
        }
    }

    /// Wants to know of these topics until it is dropped.
    pub(crate) fn of(&self, names: &[String]) -> WatchedTopics {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            *wanted.entry(name.clone()).or_default() += 1;
        }
        drop(wanted);
        WatchedTopics { names: names.to_vec(), looks: self.look.subscribe(), of: self.clone() }
    }

    /// Returns whether Kafka answers, by the last look.
    pub(crate) fn health(&self) -> ServerHealth {
        self.health.clone()
    }

    /// Looks until it is stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        let mut asked: Option<Instant> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
                () = self.hurry.notified() => tokio::time::sleep_until(last + LOOK_APART).await,
            }
            last = Instant::now();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look_at_all(&mut asked) => {}
            }
        }
    }

    /// Looks at all topics; where there is none, asks now and then whether Kafka answers.
    async fn look_at_all(&self, asked: &mut Option<Instant>) {
        let asked_at = clock::now();
        let names: Vec<String> =
            self.wanted.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        if names.is_empty() {
            if asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
                *asked = Some(Instant::now());
                match self.topics.answers().await {
                    Ok(()) => self.health.answered(),
                    Err(error) => self.health.failed(&error),
                }
            }
            return;
        }
        match self.topics.describe(names).await {
            Ok(topics) => {
                self.health.answered();
                self.look.send_replace(Some(TopicLook { asked_at, topics: Arc::new(topics) }));
            }
            // What was known stays; consumers tell of an outage.
            Err(error) => {
                tracing::debug!(%error, "Looking at the topics");
                self.health.failed(&error);
            }
        }
    }
}

/// One reader's topics.
pub(crate) struct WatchedTopics {
    names: Vec<String>,
    looks: watch::Receiver<Option<TopicLook>>,
    of: TopicWatch,
}

impl WatchedTopics {
    /// The newest look, where it was not given before.
    pub(crate) fn news(&mut self) -> Option<TopicLook> {
        if !self.looks.has_changed().unwrap_or(false) {
            return None;
        }
        self.looks.borrow_and_update().clone()
    }

    /// Something is the matter with a topic: the next look is begun at once.
    pub(crate) fn hurry(&self) {
        self.of.hurry.notify_one();
    }
}

impl Drop for WatchedTopics {
    fn drop(&mut self) {
        let mut wanted = self.of.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &self.names {
            if let Some(count) = wanted.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    wanted.remove(name);
                }
            }
        }
    }
}
