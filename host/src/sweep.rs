//! Looks after this host's life and lanes: heartbeat, burial of the dead, free outbox lanes, rereads.
//!
//! It starts no message and settles none. Where the heartbeat finds the host buried, the session ends
//! and with it everything that was taken in it. The heartbeat waits for nothing else.

mod heartbeat;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::Config;
use crate::db::{Db, DbError, hosts, lanes, rounds};
use crate::lane::{Lease, Moment, Session};
use crate::relay::LaneChange;

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
    /// Lanes that others took.
    pub(crate) leases: mpsc::UnboundedReceiver<Lease>,
    /// Where the relay hears of its lanes.
    pub(crate) relay: mpsc::UnboundedSender<LaneChange>,
    /// An operator touched something.
    pub(crate) wake: Arc<Notify>,
    /// Told when outbox rows are to be read again.
    pub(crate) outbox_wake: Arc<Notify>,
    /// Where the workers see which breakers are open, and what is paused.
    pub(crate) breakers: watch::Sender<Breakers>,
    /// Lanes (with their tokens) that are ours and that nobody here has, and since when.
    pub(crate) nobodys: HashMap<(i32, i64), Instant>,
}

/// The breakers that are open and the handlers that are paused, as a look at the tables saw them.
#[derive(Debug, Clone)]
pub(crate) struct Breakers {
    /// When the look began.
    pub(crate) looked_at: Instant,
    /// By consumer group, when a probe may be claimed.
    pub(crate) open: HashMap<String, Instant>,
    /// By consumer group.
    pub(crate) paused: HashSet<String>,
}

impl Default for Breakers {
    fn default() -> Self {
        Self { looked_at: Instant::now(), open: HashMap::new(), paused: HashSet::new() }
    }
}

/// Registers a new life of this host.
pub(crate) async fn begin(db: &Db, config: &Config) -> Result<Arc<Session>, DbError> {
    let (id, sent) = (Uuid::new_v4(), Moment::now());
    hosts::register(db, id, &config.host, config.relay.enabled).await?;
    Ok(Arc::new(Session::new(id, sent, config.host.expiry)))
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
        let mut outage = self.db.outage();
        let mut held: HashMap<i32, Lease> = HashMap::new();
        let mut shared: Option<Instant> = None;
        loop {
            tokio::select! {
                Some(lease) = self.leases.recv() => {
                    held.insert(lease.lane, lease);
                    continue;
                }
                // Somebody gave lanes back, or an operator touched rows.
                () = self.wake.notified() => shared = None,
                _ = tick.tick() => {}
            }
            let shares = shared.is_none_or(|shared| shared.elapsed() >= beat);
            match self.turn(shares, &mut held).await {
                Ok(()) => {
                    outage.over();
                    if shares {
                        shared = Some(Instant::now());
                    }
                }
                Err(error) => tokio::time::sleep(outage.failed(&error)).await,
            }
        }
    }

    async fn turn(&mut self, shares: bool, held: &mut HashMap<i32, Lease>) -> Result<(), DbError> {
        if shares {
            let host = &self.config.host;
            let all = self.session.may_bury(Moment::now(), host.expiry);
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
        let mut ours: Vec<i32> = held.keys().copied().filter(|lane| is_outbox(*lane)).collect();
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
        for taken in lanes::take(&self.db, self.session.id, &free).await? {
            let lease = Lease::new(taken.lane, taken.token, taken.reread, &self.session);
            held.insert(taken.lane, lease.clone());
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
        let (lanes, tokens): (Vec<i32>, Vec<i64>) = stale.map(|(lane, _)| *lane).unzip();
        if !lanes.is_empty() {
            lanes::release(&self.db, &lanes, &tokens).await?;
        }
        Ok(())
    }

    /// Lanes that were taken from us, and lanes whose rows an operator touched.
    async fn look(&mut self, held: &mut HashMap<i32, Lease>) -> Result<(), DbError> {
        let looked_at = Instant::now();
        let seen = rounds::look(&self.db, self.session.id).await?;
        let open = seen.open.into_iter().map(|(group, remaining)| (group, looked_at + remaining)).collect();
        self.breakers.send_replace(Breakers { looked_at, open, paused: seen.paused });
        held.retain(|_, lease| !lease.is_lost());
        let rows: HashMap<i32, lanes::Owned> = seen.lanes.into_iter().map(|row| (row.lane, row)).collect();
        let nobodys =
            rows.values().filter(|row| held.get(&row.lane).is_none_or(|lease| lease.token != row.token));
        self.give_back(nobodys.map(|row| (row.lane, row.token)).collect()).await?;
        let mut touched = false;
        for (lane, lease) in held.iter() {
            match rows.get(lane) {
                Some(row) if row.token == lease.token => {
                    lease.saw_wanted(row.wanted);
                    touched |= lease.saw_reread(row.reread) && is_outbox(*lane);
                }
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

/// Outbox lanes have the lowest numbers.
fn is_outbox(lane: i32) -> bool {
    usize::try_from(lane).is_ok_and(|lane| lane < OUTBOX_LANES)
}
