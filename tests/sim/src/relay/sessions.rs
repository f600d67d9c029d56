//! Processes start, stop and die; sessions are renewed, buried and begun anew; lanes are shared out.

use super::RelayWorld;
use super::client::Clients;
use super::event_loop::Step;
use super::host::{Host, LaneChange, Lease, Life};
use super::job::Task;
use super::setup::{COMMAND_LIMIT, EXPIRY};
use super::writes::{OwnedLane, Taken};
use crate::postgres::Session;
use mailroom_core::relay::Event;

const BEAT: u64 = EXPIRY / 6;
const SWEEP: u64 = 1000;
/// Time that a lane is left alone that is ours and that nobody has.
const STRAY: u64 = 3000;

impl RelayWorld {
    /// A process begins.
    pub(super) fn start(&mut self, index: usize) {
        if let Some(host) = self.hosts.get_mut(index) {
            let lives = host.lives;
            *host = Host { lives, life: Life::Up, ..Host::down() };
        }
        self.begin_session(index);
    }

    /// A session of a process: its relay knows nothing yet.
    fn begin_session(&mut self, index: usize) {
        self.last_session += 1;
        let session = Session(self.last_session);
        let now = self.now;
        self.store.register(session, now + EXPIRY);
        let Some(host) = self.hosts.get_mut(index) else { return };
        self.history.note(|| format!("h{index} begins session {session}"));
        *host = Host {
            life: Life::Up,
            lives: host.lives + 1,
            session,
            frozen: host.frozen,
            cut_until: host.cut_until,
            kafka_cut_until: host.kafka_cut_until,
            valid_until: now + EXPIRY,
            gapless_since: Some(now),
            next_beat: now + BEAT,
            next_sweep: now,
            timer: now,
            ..Host::down()
        };
        self.start_relay(index);
    }

    /// A process dies, and with it all that it had in memory; what it sent is on its way.
    pub(super) fn kill(&mut self, index: usize) {
        let Some(host) = self.hosts.get_mut(index).filter(|host| host.is_up()) else { return };
        self.history.note(|| format!("h{index} is gone"));
        *host = Host { lives: host.lives + 1, ..Host::down() };
        self.cut_off(index);
    }

    pub(super) fn stop(&mut self, index: usize) {
        let by = self.now + 2 * COMMAND_LIMIT;
        let Some(host) = self.hosts.get_mut(index).filter(|host| host.life == Life::Up) else { return };
        self.history.note(|| format!("h{index} stops by {by}"));
        host.life = Life::Stopping(by);
        host.events.push_back(Event::Stop);
        self.take_events(index);
    }

    /// A process that has given its lanes back is gone.
    pub(super) fn depart(&mut self, index: usize) {
        let Some(session) = self.hosts.get(index).map(|host| host.session) else { return };
        self.kill(index);
        self.store.depart(session);
    }

    pub(super) fn beat(&mut self, index: usize) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.beats = true;
        host.next_beat = now + BEAT;
        let may_bury = host.gapless_since.is_some_and(|since| since + EXPIRY <= now);
        self.push_job(Some(index), Task::Beat);
        if may_bury {
            self.push_job(Some(index), Task::Bury);
        }
    }

    /// A renewal that was sent then has ended; `None` where its end is not known.
    pub(super) fn beaten(&mut self, index: usize, sent_at: u64, there: Option<bool>) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.beats = false;
        match there {
            None => host.gapless_since = None,
            Some(true) => {
                host.gapless_since = host.gapless_since.or(Some(sent_at));
                host.valid_until = host.valid_until.max(sent_at + EXPIRY);
            }
            Some(false) => {
                self.coverage.count_relay("host buried");
                self.history.note(|| format!("h{index} finds itself buried"));
                if let Some(host) = self.hosts.get_mut(index) {
                    // Whatever it has under way goes on at the servers.
                    host.clients = Clients::default();
                }
                self.begin_session(index);
            }
        }
    }

    /// The sweep shares lanes out, then looks which are still ours.
    pub(super) fn sweep(&mut self, index: usize) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.sweeps = true;
        host.next_sweep = now + SWEEP;
        let held = host.held.len();
        let task = if host.life == Life::Up { Task::Share { held } } else { Task::Look };
        self.push_job(Some(index), task);
    }

    pub(super) fn shared(&mut self, index: usize, taken: Option<Taken>) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        let Some(taken) = taken else {
            host.sweeps = false;
            return;
        };
        let surplus: Vec<i32> = host.held.keys().skip(taken.share).copied().collect();
        host.changes.extend(surplus.into_iter().map(LaneChange::Surplus));
        for OwnedLane { lane, token, rereads } in taken.lanes {
            host.shared.insert((lane, token), Lease { rereads, ..Lease::default() });
            host.held.insert(lane, token);
            host.changes.push_back(LaneChange::Taken(lane, token));
        }
        self.push_job(Some(index), Task::Look);
    }

    /// Notices lanes that are lost, that operators touched, and such as nobody here has.
    pub(super) fn looked(&mut self, index: usize, owned: Option<&[OwnedLane]>) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.sweeps = false;
        let Some(owned) = owned else { return };
        let held: Vec<(i32, i64)> = host.held.iter().map(|(lane, token)| (*lane, *token)).collect();
        let held: Vec<(i32, i64)> =
            held.into_iter().filter(|(lane, token)| !host.is_lost(*lane, *token)).collect();
        host.held = held.iter().copied().collect();
        let mut touched = false;
        for (lane, token) in held {
            match owned.iter().find(|row| row.lane == lane) {
                Some(row) if row.token == token => {
                    if let Some(lease) = host.shared.get_mut(&(lane, token))
                        && lease.rereads < row.rereads
                    {
                        lease.rereads = row.rereads;
                        lease.touched = true;
                        touched = true;
                    }
                }
                // Taken anew since this look began.
                Some(row) if row.token < token => {}
                Some(_) | None => host.lose(lane, token),
            }
        }
        host.woken |= touched;
        let has = |row: &&OwnedLane| host.held.get(&row.lane) == Some(&row.token);
        let strange = owned.iter().filter(|row| !has(row)).map(|row| (row.lane, row.token));
        let strange: Vec<(i32, i64)> = strange.collect();
        host.strays.retain(|lease, _| strange.contains(lease));
        for lease in strange {
            host.strays.entry(lease).or_insert(now);
        }
        let old = host.strays.iter().filter(|(_, since)| **since + STRAY <= now);
        let old: Vec<(i32, i64)> = old.map(|(lease, _)| *lease).collect();
        if !old.is_empty() {
            self.push_job(Some(index), Task::Release(old));
        }
        // Leases that were lost are noticed with the next thing that happens.
        if self.hosts.get(index).is_some_and(Host::relays) {
            self.turn(index, Step::Nothing);
        }
    }

    pub(super) fn released(&mut self, index: usize, leases: &[(i32, i64)]) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        for (lane, token) in leases {
            host.lose(*lane, *token);
        }
        if host.life == Life::Leaving {
            self.depart(index);
        } else {
            self.turn(index, Step::Nothing);
        }
    }
}
