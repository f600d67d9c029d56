//! Noting which messages are begun, before they are: what a dead host may have had running is looked for among
//! these only. A few are noted ahead, about as many as start until the next note.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Work, Work_};
use crate::db::{DbError, lanes};

/// Notes are to be about so far apart.
const NOTES_APART: Duration = Duration::from_millis(50);
/// At most so many messages are noted ahead.
const AHEAD_MAX: usize = 2_000;

/// By lane, up to which `seq` messages now count as begun.
type Noted = Result<Vec<(i32, i64)>, DbError>;

/// What was noted.
#[derive(Default)]
pub(super) struct Begun {
    /// By lane, the highest `seq` that counts as begun.
    to: HashMap<i32, i64>,
    pub(super) noting: Option<Work_<Noted>>,
    /// How many are noted at once, and how many of them have started since.
    ahead: usize,
    started: usize,
    noted_at: Option<Instant>,
    not_before: Option<Instant>,
}

impl Begun {
    /// Whether the message may start.
    pub(super) fn has(&self, lane: i32, seq: i64) -> bool {
        self.to.get(&lane).is_some_and(|to| seq <= *to)
    }

    /// A message that has a row starts; whether it is time to note more.
    pub(super) fn starts(&mut self) -> bool {
        self.started += 1;
        self.started * 2 >= self.ahead
    }

    /// A lane is taken, or gone: nothing of it is noted.
    pub(super) fn forget(&mut self, lane: i32) {
        self.to.remove(&lane);
    }
}

impl Work {
    /// Notes that the next messages are begun.
    pub(super) fn note_begun(&mut self, concurrency: usize) {
        let now = Instant::now();
        if self.begun.noting.is_some() || self.begun.not_before.is_some_and(|before| now < before) {
            return;
        }
        let since = self.begun.noted_at.map_or(Duration::MAX, |at| now - at);
        let ahead = if since < NOTES_APART { self.begun.ahead * 2 } else { self.begun.ahead / 2 };
        self.begun.ahead = ahead.clamp(2 * concurrency, AHEAD_MAX);
        self.begun.noted_at = Some(now);
        self.begun.started = 0;
        let next = self.queues.next_ready(&self.begun.to, self.fresh.lanes(), self.begun.ahead).into_iter();
        let leases = next.filter_map(|(lane, seq)| Some((self.leases.get(&lane)?.clone(), seq))).collect();
        let db = self.worker.db.clone();
        self.begun.noting = Some(Box::pin(async move { lanes::begin(&db, leases).await }));
    }

    /// It was noted; lanes that are left out are another's.
    pub(super) fn noted(&mut self, begun: Noted) {
        match begun {
            Ok(begun) => {
                self.outage.over();
                for (lane, to) in begun.into_iter().filter(|(lane, _)| self.leases.contains_key(lane)) {
                    self.begun.to.insert(lane, to);
                }
            }
            Err(error) => self.begun.not_before = Some(Instant::now() + self.outage.failed(&error)),
        }
    }
}
