//! Schedule of the looks at the table. While rows come often, a look follows every few milliseconds, and
//! producers pay for no wake-up. While they come now and then, producers wake us, which finds a row sooner
//! than looking does, and looks are rare.

use std::time::Duration;

use super::{Settings, Tell, Wake};
use crate::time::Moment;

/// Time after rows came for which they are looked for at the shortest interval.
const LINGER: Duration = Duration::from_millis(100);
/// An announced sleep is renewed before it runs out; a dead relay's runs out by itself.
pub const SLEEP: Duration = Duration::from_secs(10);

/// Rows, or wake-ups, within [`LINGER`] from which on looking is cheaper than being woken.
const OFTEN: usize = 20;

/// The relay's alarm clock.
#[derive(Debug, Clone)]
pub(super) struct PollSchedule {
    next_look: Moment,
    /// Something came up since the look under way began: it may have missed it.
    again: bool,
    last_row: Moment,
    /// Start of the count, what was counted since, and whether it was much the last time.
    counted_from: Moment,
    rows: usize,
    wakes: usize,
    often: bool,
    /// Time until which producers were told that we sleep.
    announced: Option<Moment>,
}

impl PollSchedule {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            next_look: now,
            again: false,
            last_row: now,
            counted_from: now,
            rows: 0,
            wakes: 0,
            often: false,
            announced: None,
        }
    }

    pub(super) fn next_look(&self) -> Moment {
        self.next_look
    }

    /// A look that begins from now on sees what there is to see.
    pub(super) fn look_now(&mut self, now: Moment) {
        self.next_look = now;
        self.again = true;
    }

    /// Wakes like [`Self::look_now`], and counts that somebody woke us.
    pub(super) fn woken(&mut self, now: Moment) {
        self.count(0, 1, now);
        self.look_now(now);
    }

    pub(super) fn look_after(&mut self, wait: Duration, now: Moment) {
        self.next_look = now + wait;
    }

    /// A look begins.
    pub(super) fn begin_look(&mut self) {
        self.again = false;
    }

    /// A look has ended that found so many new rows, and perhaps was cut.
    pub(super) fn looked(&mut self, rows: usize, more: bool, settings: &Settings, now: Moment) {
        self.count(rows, 0, now);
        let wait = match settings.wake {
            _ if self.again || more => Duration::ZERO,
            Wake::Notify if self.is_announced(now, settings) && !self.often => settings.poll_max,
            Wake::Poll if rows == 0 && now.since(self.last_row) >= LINGER => settings.poll_max,
            Wake::Notify | Wake::Poll if rows > 0 => Duration::ZERO,
            Wake::Notify | Wake::Poll => settings.poll_min,
        };
        self.next_look = now + wait;
    }

    fn count(&mut self, rows: usize, wakes: usize, now: Moment) {
        let counted = now.since(self.counted_from);
        if counted >= LINGER {
            self.often = self.is_much() && counted < 2 * LINGER;
            (self.counted_from, self.rows, self.wakes) = (now, 0, 0);
        }
        self.rows += rows;
        self.wakes += wakes;
        self.often |= self.is_much();
        if rows > 0 {
            self.last_row = now;
        }
    }

    fn is_much(&self) -> bool {
        self.rows.max(self.wakes) > OFTEN
    }

    /// Tells whether producers know that we sleep, long enough for the next look to renew it.
    fn is_announced(&self, now: Moment, settings: &Settings) -> bool {
        self.announced.is_some_and(|until| until > now + 2 * settings.poll_max)
    }

    /// Returns what producers are to be told now.
    pub(super) fn tell(&self, settings: &Settings, now: Moment) -> Option<Tell> {
        match settings.wake {
            Wake::Poll => None,
            Wake::Notify if self.often => self.announced.map(|_| Tell::Awake),
            Wake::Notify => (!self.is_announced(now, settings)).then_some(Tell::Asleep),
        }
    }

    /// Takes note that producers were told.
    pub(super) fn told(&mut self, tell: Tell, now: Moment) {
        match tell {
            Tell::Awake => self.announced = None,
            Tell::Asleep => {
                let before = self.announced.replace(now + SLEEP);
                // What came before they were told has woken nobody.
                if before.is_none_or(|until| until <= now) {
                    self.look_now(now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
