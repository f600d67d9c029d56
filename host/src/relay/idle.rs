//! When to look at the table: at once while there is work, every few milliseconds for a while after it,
//! then asleep, with producers told to wake us.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::LINGER;
use crate::config::{self, Wake};
use crate::db::{Db, DbError, wake};

/// An announced sleep is renewed before it runs out; a dead relay's runs out by itself.
const SLEEP: Duration = Duration::from_secs(10);

/// The relay's alarm clock.
#[derive(Debug)]
pub(super) struct Idle {
    last_row: Instant,
    next_look: Instant,
    /// Until when producers were told that we sleep.
    announced: Option<Instant>,
}

impl Idle {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { last_row: now, next_look: now, announced: None }
    }

    pub(super) fn next_look(&self) -> Instant {
        self.next_look
    }

    pub(super) fn look_now(&mut self) {
        self.next_look = Instant::now();
    }

    pub(super) fn look_after(&mut self, wait: Duration) {
        self.next_look = Instant::now() + wait;
    }

    /// A look found rows: producers need not wake us any more.
    pub(super) async fn found(&mut self, db: &Db, host: Uuid) -> Result<(), DbError> {
        self.last_row = Instant::now();
        self.next_look = self.last_row;
        if self.announced.take().is_some() {
            wake::awake(db, host).await?;
        }
        Ok(())
    }

    /// A look found nothing.
    pub(super) async fn nothing(
        &mut self,
        db: &Db,
        host: Uuid,
        relay: &config::Relay,
    ) -> Result<(), DbError> {
        let now = Instant::now();
        if now - self.last_row < LINGER {
            self.next_look = now + relay.poll_min;
            return Ok(());
        }
        self.next_look = now + relay.poll_max;
        let told = self.announced.is_some_and(|until| until > now + 2 * relay.poll_max);
        if relay.wake == Wake::Notify && !told {
            wake::sleep(db, host, SLEEP).await?;
            // Look once more: what came before this row was there has woken nobody.
            if self.announced.replace(now + SLEEP).is_none() {
                self.next_look = now;
            }
        }
        Ok(())
    }
}
