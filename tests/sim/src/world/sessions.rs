//! Processes start, stop and die; sessions are renewed, buried and begun anew.

use std::sync::Arc;

use mailroom_core::handler_machine::event::{Event, Look};
use mailroom_core::ids::{LaneId, Lease};
use mailroom_core::time::Moment;

use super::World;
use crate::host::{Life, Machine};
use crate::job::Task;
use crate::kafka::{Consumer, Told};
use crate::postgres::table::NOBODY;
use crate::postgres::{Flow, Session};
use crate::setup::{COMMAND_LIMIT, EXPIRY};
use crate::twin::Deed;

const BEAT: u64 = EXPIRY / 6;
const LOOK: u64 = 1000;
/// Time that a lane is left alone that is ours and that nobody has.
const STRAY: u64 = 3000;

impl World {
    /// A process begins, with the newest version there is.
    pub(super) fn start(&mut self, index: usize) {
        let versions = self.hosts.iter().map(|host| Arc::clone(&host.version));
        let newest = versions.max_by_key(|version| version.id);
        if let (Some(host), Some(newest)) = (self.hosts.get_mut(index), newest) {
            host.life = Life::Up;
            host.frozen = false;
            host.version = newest;
            host.consumer = Consumer::default();
        }
        self.begin_session(index);
    }

    /// A session of a process: its machine knows nothing yet.
    pub(super) fn begin_session(&mut self, index: usize) {
        self.last_session += 1;
        let session = Session(self.last_session);
        self.pg.register(session, index, self.now + EXPIRY);
        self.testify(&Deed::Registered(session, index));
        self.drop_calls(index);
        let settings = self.setup.settings();
        let Some(host) = self.hosts.get_mut(index) else { return };
        self.history.note(|| format!("h{index} begins session {session}"));
        host.lives += 1;
        host.session = session;
        host.machine = Some(Machine::new(settings, Arc::clone(&host.version), Moment(self.now)));
        host.shared.clear();
        host.strays.clear();
        host.consumer.fetches.clear();
        host.consumer.told.clear();
        host.gapless_since = Some(self.now);
        (host.next_beat, host.next_look) = (self.now + BEAT, self.now);
        (host.beats, host.looks) = (false, false);
        let ours = self.kafka.owners.iter().filter(|(_, owner)| **owner == index);
        let ours: Vec<_> = ours.map(|(partition, _)| partition.clone()).collect();
        if !ours.is_empty() {
            host.consumer.told.push_back(Told::Assigned(ours));
        }
        self.feed(index, Event::SessionRenewed(Moment(self.now + EXPIRY)));
    }

    /// A process dies, and with it all that it had in memory.
    pub(super) fn kill(&mut self, index: usize) {
        let Some(host) = self.hosts.get_mut(index).filter(|host| host.is_up()) else { return };
        self.history.note(|| format!("h{index} is gone"));
        host.life = Life::Down;
        host.machine = None;
        host.frozen = false;
        host.lives += 1;
        host.consumer = Consumer::default();
        self.drop_calls(index);
        self.cut_off(index);
    }

    /// Nothing that was called matters any more; transactions that calls opened are rolled back.
    fn drop_calls(&mut self, index: usize) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        let running = std::mem::take(&mut host.calls).into_values().filter_map(|running| running.tx);
        let open = std::mem::take(&mut host.open).into_values().map(|open| open.tx);
        for tx in running.chain(open).collect::<Vec<_>>() {
            self.pg.end(tx, false);
        }
    }

    pub(super) fn stop(&mut self, index: usize) {
        let by = self.now + 3 * COMMAND_LIMIT;
        let Some(host) = self.hosts.get_mut(index).filter(|host| host.life == Life::Up) else { return };
        self.history.note(|| format!("h{index} stops by {by}"));
        host.life = Life::Stopping(by);
        self.feed(index, Event::Stop { by: Moment(by) });
    }

    /// Tells whether a host that stops has given everything back.
    pub(super) fn has_nothing_left(&self, index: usize) -> bool {
        let Some(host) = self.hosts.get(index) else { return true };
        let owns = self.pg.lanes.rows(NOBODY).any(|(_, lane)| lane.owner == Some(host.session));
        let works = self.jobs.iter().any(|job| job.host == Some((index, host.lives)));
        let stopped = host.machine.as_ref().is_none_or(Machine::is_stopped);
        stopped && !owns && !works && host.calls.is_empty() && host.consumer.told.is_empty()
    }

    pub(super) fn depart(&mut self, index: usize) {
        let Some(session) = self.hosts.get(index).map(|host| host.session) else { return };
        self.kill(index);
        let tx = self.pg.begin();
        let gone = !matches!(self.pg.depart(tx, self.now, session), Flow::Wait(_));
        self.pg.end(tx, gone);
        if gone {
            self.testify(&Deed::Departed(session));
        }
    }

    pub(super) fn beat(&mut self, index: usize) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.beats = true;
        host.next_beat = self.now + BEAT;
        let may_bury = host.gapless_since.is_some_and(|since| since + EXPIRY <= self.now);
        self.push_job(Some(index), Task::Beat, None);
        if may_bury {
            self.push_job(Some(index), Task::Bury, None);
        }
    }

    pub(super) fn beaten(&mut self, index: usize, sent_at: u64, there: bool) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.beats = false;
        if there {
            host.gapless_since = host.gapless_since.or(Some(sent_at));
            self.feed(index, Event::SessionRenewed(Moment(sent_at + EXPIRY)));
        } else {
            self.history.note(|| format!("h{index} finds itself buried"));
            // Whatever it has under way goes on at the server.
            self.begin_session(index);
        }
    }

    pub(super) fn beat_failed(&mut self, index: usize) {
        if let Some(host) = self.hosts.get_mut(index) {
            host.beats = false;
            host.gapless_since = None;
        }
    }

    pub(super) fn start_look(&mut self, index: usize) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.looks = true;
        host.next_look = self.now + LOOK;
        self.push_job(Some(index), Task::Look, None);
    }

    pub(super) fn looked(&mut self, index: usize) {
        if let Some(host) = self.hosts.get_mut(index) {
            host.looks = false;
        }
    }

    /// Gives back lanes that are this session's by the table, and that nobody in it has had for a while: their
    /// taking or their release was not heard of.
    pub(super) fn sweep(&mut self, index: usize, look: &Look) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(index) else { return };
        let Some(machine) = &host.machine else { return };
        let known: Vec<LaneId> = machine.lanes().collect();
        let strange = look.lanes.iter().filter(|(lane, _)| !known.contains(lane));
        let strange: Vec<Lease> =
            strange.map(|(lane, owned)| Lease { lane: *lane, token: owned.token }).collect();
        host.strays.retain(|lease, _| strange.contains(lease));
        for lease in &strange {
            host.strays.entry(*lease).or_insert(now);
        }
        let old = host.strays.iter().filter(|(_, since)| **since + STRAY <= now);
        let old: Vec<Lease> = old.map(|(lease, _)| *lease).collect();
        if !old.is_empty() {
            self.push_job(Some(index), Task::Sweep(old), None);
        }
    }

    /// The coordinator gives a partition to a host that is up, and takes it from another.
    pub(super) fn rebalance(&mut self, partition: usize) {
        let Some(partition) = self.setup.partitions.get(partition).cloned() else { return };
        let up = self.hosts.iter().enumerate().filter(|(_, host)| host.life == Life::Up);
        let up: Vec<usize> = up.map(|(index, _)| index).collect();
        let chosen = self.chance(u32::try_from(up.len()).unwrap_or(1));
        let Some(to) = up.get(usize::try_from(chosen).unwrap_or(0)).copied() else { return };
        let from = self.kafka.owners.insert(partition.clone(), to);
        if from == Some(to) {
            return;
        }
        self.history.note(|| format!("Kafka gives {partition} to h{to}"));
        if let Some(host) = from.and_then(|from| self.hosts.get_mut(from)).filter(|host| host.is_up()) {
            host.consumer.fetches.remove(&partition);
            host.consumer.told.push_back(Told::Revoked(vec![partition.clone()]));
        }
        if let Some(host) = self.hosts.get_mut(to) {
            host.consumer.told.push_back(Told::Assigned(vec![partition]));
        }
    }
}
