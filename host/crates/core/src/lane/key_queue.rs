//! The messages of one key, in order.

use std::collections::VecDeque;

use crate::handler_machine::event::HandedState;
use crate::ids::Seq;
use crate::time::Moment;

/// The messages of one key in memory.
#[derive(Debug, Clone, Hash)]
pub(super) struct KeyQueue<S> {
    /// Places of all its messages, ascending.
    pub(super) seqs: VecDeque<Seq>,
    /// Number of the first messages that are beyond waiting: being written, decided, or running.
    pub(super) begun: usize,
    /// Message that runs.
    pub(super) running: Option<Seq>,
    /// Number of decided or written ones that must be settled before the next starts.
    pub(super) awaited: usize,
    /// The state as the last decided one left it.
    pub(super) state: Option<HandedState<S>>,
    /// Time at which its oldest part was read.
    pub(super) state_read_at: Moment,
    /// The last decided one that wrote state and is not settled.
    pub(super) last_writer: Option<Seq>,
}

impl<S> Default for KeyQueue<S> {
    fn default() -> Self {
        Self {
            seqs: VecDeque::new(),
            begun: 0,
            running: None,
            awaited: 0,
            state: None,
            state_read_at: Moment(0),
            last_writer: None,
        }
    }
}

impl<S> KeyQueue<S> {
    /// Adds a message where its place is. It is behind all that are begun.
    pub(super) fn add(&mut self, seq: Seq) {
        if self.seqs.back().is_none_or(|last| *last < seq) {
            self.seqs.push_back(seq);
        } else if let Err(place) = self.seqs.binary_search(&seq) {
            self.seqs.insert(place.max(self.begun), seq);
        }
    }

    /// Takes a message out. `was_begun` says whether it was beyond waiting.
    pub(super) fn remove(&mut self, seq: Seq, was_begun: bool) {
        let place = if self.seqs.front() == Some(&seq) {
            Some(0)
        } else {
            self.seqs.iter().position(|other| *other == seq)
        };
        if let Some(place) = place {
            self.seqs.remove(place);
            self.begun = self.begun.saturating_sub(usize::from(was_begun));
        }
        if self.running == Some(seq) {
            self.running = None;
        }
        if self.last_writer == Some(seq) {
            self.last_writer = None;
        }
    }

    /// Gives the bytes of its state.
    pub(super) fn state_bytes(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.bytes)
    }

    /// Gives the first message that waits.
    pub(super) fn first_waiting(&self) -> Option<Seq> {
        self.seqs.get(self.begun).copied()
    }

    /// Tells whether no message in it is beyond waiting, so that all that went before is settled.
    pub(super) fn is_unbegun(&self) -> bool {
        self.begun == 0
    }
}
