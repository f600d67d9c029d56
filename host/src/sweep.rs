//! Looks after this host's life and lanes: heartbeat, burial of the dead, free outbox lanes, rereads.
//!
//! It starts no message and settles none. Where the heartbeat finds the host buried, the session ends
//! and with it everything that was taken in it. The heartbeat waits for nothing else.

mod heartbeat;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use mailroom_core::handler_machine::event::OwnedLane;
use mailroom_core::ids::{self, LaneId, LaneToken, RereadCount};
use mailroom_core::time::Moment;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock;
use crate::config::Config;
use crate::db::{Db, DbError, dead_letters, hosts, lanes, rounds};
use crate::lane::{self, Lease, Session};
use crate::outage::Urgency;
use crate::relay::LaneChange;
use crate::worker::{HostLook, LaneBook};

/// A lane that nobody here has for so long is given back.
const NOBODYS_FOR: Duration = Duration::from_secs(3);
/// Outbox lanes in all.
const OUTBOX_LANES: usize = 64;
/// Lanes are looked after at least this often, so that what an operator touched is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The sweep of a host, for one session.
pub(crate) struct Sweep {
    pub(crate) config: Arc<Config>,
    pub(crate) db: Db,
    pub(crate) session: Arc<Session>,
    /// Book of the inbox lanes that handlers here have.
    pub(crate) lanes: LaneBook,
    /// Channel by which the relay hears of its lanes.
    pub(crate) relay: mpsc::UnboundedSender<LaneChange>,
    /// An operator touched something.
    pub(crate) wake: Arc<Notify>,
    /// Told when outbox rows are to be read again.
    pub(crate) outbox_wake: Arc<Notify>,
    /// Channel by which the workers see their lanes, which breakers are open, and what is paused.
    pub(crate) looks: watch::Sender<Arc<HostLook>>,
    /// Lanes (with their tokens) that are ours and that nobody here has, and since when.
    pub(crate) nobodys: HashMap<(i32, i64), Instant>,
}

/// Registers a new life of this host. `was` is the one before it, which others have buried: it proves that the process
/// lives, so that no message is blamed for its death.
pub(crate) async fn begin(db: &Db, config: &Config, was: Option<Uuid>) -> Result<Arc<Session>, DbError> {
    if let Some(was) = was {
        prove_alive(db, was).await?;
    }
    let (id, sent) = (Uuid::new_v4(), lane::Moment::now());
    let key = hosts::register(db, id, &config.host, config.relay.enabled).await?;
    Ok(Arc::new(Session::new(id, key, sent, config.host.expiry)))
}

/// Messages are not blamed for a death that was none; those that were are replayed.
async fn prove_alive(db: &Db, was: Uuid) -> Result<(), DbError> {
    let (suspected, letters) = hosts::prove_alive(db, was).await?;
    if suspected > 0 {
        tracing::warn!(
            "This host was taken for dead and lives: {suspected} messages that it may have had running are not counted \
             as lost with it"
        );
    }
    if !letters.is_empty() {
        let replayed = dead_letters::replay(db, &letters, None).await?;
        hosts::forget_suspicions(db, was).await?;
        tracing::warn!("{replayed} messages that were dead as a crash loop for it are handled again");
    }
    Ok(())
}

impl Sweep {
    /// Sweeps, with the heart beating beside it, until it is stopped or the host is found buried.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let ended = Arc::clone(&self.session);
        let beats = heartbeat::beat(self.db.clone(), Arc::clone(&self.session), self.config.host.expiry);
        tokio::select! {
            () = stop.cancelled() => {}
            () = ended.ended().cancelled() => {}
            () = beats => {}
            () = self.sweep() => {}
        }
    }

    async fn sweep(mut self) {
        let beat = heartbeat::every(self.config.host.expiry);
        let mut tick = tokio::time::interval(beat.min(LOOK_EVERY));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut outage, health) = (self.db.outage(), self.db.health());
        let mut held: HashMap<i32, Lease> = HashMap::new();
        let mut shared: Option<Instant> = None;
        loop {
            tokio::select! {
                // Somebody gave lanes back, or an operator touched rows.
                () = self.wake.notified() => shared = None,
                _ = tick.tick() => {}
            }
            let shares = shared.is_none_or(|shared| shared.elapsed() >= beat);
            match self.turn(shares, &mut held).await {
                Ok(()) => {
                    outage.over();
                    health.answered();
                    if shares {
                        shared = Some(Instant::now());
                    }
                }
                Err(error) => {
                    // That somebody was in our way is no silence.
                    if error.urgency() != Urgency::Quiet {
                        health.failed(&error.with_remedy());
                    }
                    tokio::time::sleep(outage.failed_as(error.urgency(), &error)).await;
                }
            }
        }
    }

    async fn turn(&mut self, shares: bool, held: &mut HashMap<i32, Lease>) -> Result<(), DbError> {
        if shares {
            let host = &self.config.host;
            let all = self.session.may_bury(lane::Moment::now(), host.expiry);
            let buried = hosts::bury(&self.db, self.session.id, host.worker.as_str(), all).await?;
            for worker in &buried {
                tracing::warn!("Host {worker} is dead: its expiry has passed, and its lanes are free");
            }
            if !buried.is_empty() {
                hosts::note_free_lanes(&self.db).await?;
            }
            self.share_outbox_lanes(held).await?;
        }
        self.look(held).await
    }

    /// Takes free outbox lanes up to this host's fair share and those that others leave free, and gives back
    /// what is above it.
    async fn share_outbox_lanes(&mut self, held: &mut HashMap<i32, Lease>) -> Result<(), DbError> {
        if !self.config.relay.enabled {
            return Ok(());
        }
        let alive = usize::try_from(hosts::relaying(&self.db).await?).unwrap_or(1).max(1);
        let share = OUTBOX_LANES.div_ceil(alive);
        let mut ours: Vec<i32> = held.keys().copied().collect();
        // Always the same ones, until they are given back.
        ours.sort_unstable();
        for surplus in ours.iter().skip(share) {
            self.tell_relay(LaneChange::Surplus(*surplus));
        }
        let room = i64::try_from(share.saturating_sub(ours.len())).unwrap_or(0);
        let free =
            if ours.len() < OUTBOX_LANES { lanes::free_outbox(&self.db, room).await? } else { Vec::new() };
        if free.is_empty() {
            return Ok(());
        }
        for taken in lanes::take(&self.db, self.session.id, &free, Duration::ZERO).await? {
            let lease = Lease::new(taken.lease, taken.rereads, &self.session);
            held.insert(lease.lane, lease.clone());
            self.tell_relay(LaneChange::Taken(lease));
        }
        Ok(())
    }

    fn tell_relay(&self, change: LaneChange) {
        if self.relay.send(change).is_err() {
            tracing::debug!("The relay has ended");
        }
    }

    /// Lanes that the table says are ours and that nobody here has: a release that failed, or a take-over
    /// whose reply was lost. What is on its way to us was taken a moment ago; what stays is given back.
    async fn give_back(&mut self, nobodys: HashSet<(i32, i64)>) -> Result<(), DbError> {
        self.nobodys.retain(|lane, _| nobodys.contains(lane));
        for lane in nobodys {
            self.nobodys.entry(lane).or_insert_with(Instant::now);
        }
        let stale = self.nobodys.iter().filter(|(_, since)| since.elapsed() > NOBODYS_FOR);
        let stale: Vec<ids::Lease> = stale
            .map(|((lane, token), _)| ids::Lease { lane: LaneId(*lane), token: LaneToken(*token) })
            .collect();
        if !stale.is_empty() {
            lanes::release(&self.db, &stale).await?;
        }
        Ok(())
    }

    /// Looks at the tables for the handlers; outbox lanes that were taken from us, and such whose rows an operator
    /// touched.
    async fn look(&mut self, held: &mut HashMap<i32, Lease>) -> Result<(), DbError> {
        let began_at = clock::now();
        let seen = rounds::look(&self.db, self.session.id).await?;
        held.retain(|_, lease| !lease.is_lost());
        let rows: HashMap<i32, lanes::Owned> = seen.lanes.iter().map(|row| (row.lane, *row)).collect();
        self.looks.send_replace(Arc::new(host_look(began_at, seen)));
        let has = |row: &lanes::Owned| match held.get(&row.lane) {
            Some(lease) => lease.token == row.token,
            None => self.lanes.has(LaneId(row.lane)),
        };
        let nobodys = rows.values().filter(|row| !has(row)).map(|row| (row.lane, row.token));
        self.give_back(nobodys.collect()).await?;
        let mut touched = false;
        for (lane, lease) in held.iter() {
            match rows.get(lane) {
                Some(row) if row.token == lease.token => touched |= lease.saw_reread(row.reread),
                Some(row) if row.token > lease.token => lease.lose(),
                // Taken anew since this look began.
                Some(_) => {}
                None => lease.lose(),
            }
        }
        if touched {
            self.outbox_wake.notify_one();
        }
        Ok(())
    }
}

/// A look as the handlers' workers take it.
fn host_look(began_at: Moment, seen: rounds::Seen) -> HostLook {
    let lanes = seen.lanes.into_iter().map(|row| {
        let owned =
            OwnedLane { token: LaneToken(row.token), rereads: RereadCount(row.reread), wanted: row.wanted };
        (LaneId(row.lane), owned)
    });
    HostLook {
        began_at,
        lanes: lanes.collect(),
        open: seen.open.into_iter().map(|(group, remaining)| (group, began_at + remaining)).collect(),
        paused: seen.paused,
    }
}
