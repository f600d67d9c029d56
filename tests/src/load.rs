//! Messages one after another for as long as a test disturbs something.

use std::cell::Cell;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::{Kafka, Message, passes};

/// Number of messages: enough for every disturbance, few enough to be handled afterwards within a deadline.
const MESSAGES_MAX: u64 = 3_000;

/// Sends messages until the test says stop.
#[derive(Debug)]
pub struct Load<'w> {
    kafka: &'w Kafka,
    to: String,
    reply_to: String,
    keys: u64,
    every: Duration,
    sent: Cell<u64>,
    enough: Cell<bool>,
}

impl<'w> Load<'w> {
    /// Messages to the topic `to` which ask the guest to emit one each to `reply_to`.
    #[must_use]
    pub fn new(kafka: &'w Kafka, to: &str, reply_to: &str) -> Self {
        Self {
            kafka,
            to: to.to_owned(),
            reply_to: reply_to.to_owned(),
            keys: 8,
            every: Duration::ZERO,
            sent: Cell::new(0),
            enough: Cell::new(false),
        }
    }

    /// Leaves so much time between two messages.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// The message of this number: `value` rises within each key.
    #[must_use]
    pub fn message(&self, number: u64) -> Message {
        let payload = json!({"behave": "emit", "topic": self.reply_to, "value": number});
        Message::to(&self.to)
            .key(format!("key-{}", number % self.keys))
            .id(&format!("load-{number}"))
            .header("reply-to", &self.reply_to)
            .json(&payload)
    }

    /// Sends, each after the last was acknowledged, until [`Load::stop`].
    ///
    /// # Errors
    /// Where a message could not be sent.
    pub async fn run(&self) -> Result<()> {
        while !self.enough.get() && self.sent.get() < MESSAGES_MAX {
            self.kafka.send(&self.message(self.sent.get())).await?;
            self.sent.set(self.sent.get() + 1);
            if !self.every.is_zero() {
                passes(self.every).await;
            }
        }
        Ok(())
    }

    /// No more after the one under way.
    pub fn stop(&self) {
        self.enough.set(true);
    }

    /// Counts the messages that were acknowledged.
    ///
    /// # Errors
    /// Never: the bound is small.
    pub fn sent(&self) -> Result<i64> {
        Ok(i64::try_from(self.sent.get())?)
    }
}
