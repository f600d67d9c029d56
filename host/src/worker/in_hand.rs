//! How much of a handler is in memory: ingest reads no more while it is too much.

use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::config::Ingest;
use crate::message::Message;

/// Some messages: how many, and how many bytes of them vary with what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weight {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Weight {
    /// Of one message.
    pub(crate) fn of(message: &Message) -> Self {
        let data = |data: &Option<Vec<u8>>| data.as_ref().map_or(0, Vec::len);
        let headers = message.headers.iter().map(|header| header.name.size() + data(&header.value));
        let bytes = data(&message.key) + data(&message.payload) + headers.sum::<usize>();
        Self { messages: 1, bytes }
    }
}

impl Weight {
    /// Takes some away.
    pub(crate) fn take(&mut self, other: Self) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

impl Add for Weight {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { messages: self.messages + other.messages, bytes: self.bytes + other.bytes }
    }
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Weight {
    fn sum<I: Iterator<Item = Self>>(weights: I) -> Self {
        weights.fold(Self::default(), Add::add)
    }
}

/// The messages of a handler that are in memory.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    freed: Notify,
}

impl InHand {
    /// Whether no more is to be read.
    pub(crate) fn is_full(&self, bounds: &Ingest) -> bool {
        self.messages.load(Ordering::Relaxed) >= bounds.in_hand_max
            || self.bytes.load(Ordering::Relaxed) >= bounds.in_hand_bytes_max
    }

    /// Whether at least half of what is allowed is free.
    pub(crate) fn has_room(&self, bounds: &Ingest) -> bool {
        self.messages.load(Ordering::Relaxed) <= bounds.in_hand_max / 2
            && self.bytes.load(Ordering::Relaxed) <= bounds.in_hand_bytes_max / 2
    }

    pub(crate) fn add(&self, weight: Weight) {
        self.messages.fetch_add(weight.messages, Ordering::Relaxed);
        self.bytes.fetch_add(weight.bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, weight: Weight) {
        if weight.messages > 0 {
            self.messages.fetch_sub(weight.messages, Ordering::Relaxed);
            self.bytes.fetch_sub(weight.bytes, Ordering::Relaxed);
            self.freed.notify_one();
        }
    }

    /// Waits until some were let go.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }
}
