//! Calls of the handler: what is noted before, what is read, what the guest does, how it ends.

use mailroom_core::handler_machine::command::{Begin, Call};
use mailroom_core::handler_machine::event::{CallEnd, EndOfCall, Ending, Event};
use mailroom_core::ids::{CallId, OrderKey};
use mailroom_core::message::Message;
use mailroom_core::verdict::breaker::Sign;
use mailroom_core::verdict::decide::DeadReason;
use std::time::Duration;

use super::World;
use crate::guest::{Act, Body, KeyState, StateRead, run, shared_read};
use crate::host::{CallStage, OpenTransaction, Running};
use crate::oracle::SeenEnd;
use crate::postgres::locks::{Mode, Place};
use crate::postgres::table::NOBODY;
use crate::postgres::{Flow, StateId};
use crate::setup::COMMAND_LIMIT;
use crate::twin::Deed;

/// A shared value is read again once it is so old.
const SHARED_AGE: u64 = 500;
/// A call with a transaction of its own has it open for so long.
const SQL_TIME: u64 = 900;

impl World {
    pub(super) fn start_call(&mut self, index: usize, call: Box<Call<KeyState>>) {
        if let Err(breach) = self.oracle.called(&self.pg, &call) {
            self.violate(breach.rule, breach.text);
        }
        let act = self.next_act(&call.message);
        let is_slow = matches!(act, Act::Long | Act::LongCount);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(0);
        let until = if is_slow { self.now + millis(call.version.deadline) } else { self.now };
        let stage = if call.begin == Begin::Free { CallStage::Load } else { CallStage::Begin };
        self.abort_open(index, &call.message.message_id);
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.calls.insert(call.call, Running { call, act, stage, until, tx: None });
    }

    /// Gives what the call does. Whoever died of it, or found a server away, goes on with what its script says next.
    fn next_act(&mut self, message: &Message) -> Act {
        let script = self.kafka.scripts.get(&message.message_id).cloned().unwrap_or_default();
        let happens_once = |act: Act| matches!(act, Act::Die | Act::Unavailable);
        let act = script.at(message.deliveries);
        if !happens_once(act) || self.once.insert(message.message_id.clone()) {
            return act;
        }
        Some(script.at(message.deliveries + 1)).filter(|act| !happens_once(*act)).unwrap_or(Act::Complete)
    }

    /// A message that is called again has no use for what its last call left open.
    fn abort_open(&mut self, index: usize, message: &str) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        let open = host.open.iter().find(|(_, open)| open.message == message).map(|(call, _)| *call);
        if let Some(open) = open.and_then(|call| host.open.remove(&call)) {
            self.pg.end(open.tx, false);
        }
    }

    /// The machine has no use for a call's own transaction.
    pub(super) fn drop_sql(&mut self, index: usize, call: CallId) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        let open = host.open.remove(&call).map(|open| open.tx);
        let running = host.calls.get_mut(&call).and_then(|running| running.tx.take());
        for tx in open.into_iter().chain(running) {
            self.pg.end(tx, false);
        }
    }

    /// A transaction that is idle for too long is ended by the server.
    pub(super) fn end_idle_transactions(&mut self) {
        let mut idle = Vec::new();
        for host in &mut self.hosts {
            let old = host.open.iter().filter(|(_, open)| open.since + COMMAND_LIMIT <= self.now);
            for call in old.map(|(call, _)| *call).collect::<Vec<_>>() {
                idle.extend(host.open.remove(&call));
            }
        }
        for open in idle {
            self.pg.end(open.tx, false);
        }
    }

    /// The next thing that a call does.
    pub(super) fn step_call(&mut self, index: usize, id: CallId) {
        let Some(mut running) = self.hosts.get_mut(index).and_then(|host| host.calls.remove(&id)) else {
            return;
        };
        match std::mem::replace(&mut running.stage, CallStage::Load) {
            CallStage::Begin => self.begin_call(&mut running),
            CallStage::Load => running.stage = CallStage::Body(self.load(&running)),
            CallStage::Body(state) => {
                if running.act == Act::Die {
                    let seq = running.call.message.seq;
                    self.history.note(|| format!("the call of {seq} kills h{index}"));
                    self.last_fault = self.now;
                    self.kill(index);
                    return;
                }
                self.run_body(index, &mut running, state);
            }
            CallStage::Ended(end) => {
                self.end_call(index, running, *end);
                return;
            }
        }
        if let Some(host) = self.hosts.get_mut(index) {
            host.calls.insert(id, running);
        }
    }

    fn begin_call(&mut self, running: &mut Running) {
        let tx = self.pg.begin();
        let (lease, begin) = (running.call.lease, running.call.begin);
        let flow = self.pg.note_begun(tx, lease, &running.call.message, begin);
        self.pg.end(tx, matches!(flow, Flow::Commit(_)));
        if !matches!(flow, Flow::Wait(_)) {
            let done = matches!(flow, Flow::Commit(_));
            self.testify(&Deed::Begun(lease, &running.call.message, begin, done));
        }
        running.stage = match flow {
            Flow::Commit(_) | Flow::Next => CallStage::Load,
            Flow::Wait(_) => {
                running.until = self.now + 20;
                CallStage::Begin
            }
            Flow::Rollback(_) => CallStage::Ended(Box::new(CallEnd {
                call: running.call.call,
                end: EndOfCall::RowChanged,
                sign: (Sign::None, "not begun".into()),
            })),
        };
    }

    fn committed_state(&self, id: StateId) -> (i64, i64) {
        self.pg.state.get(NOBODY, &id).map_or((0, 0), |row| (row.version, row.value))
    }

    fn load(&self, running: &Running) -> KeyState {
        running.call.state.clone().unwrap_or_else(|| {
            let mut state = KeyState::default();
            if let Some(key) = running.call.message.okey {
                let id = StateId::Keyed(OrderKey(key));
                let (version, value) = self.committed_state(id);
                state.learn(id, version, value);
            }
            state
        })
    }

    fn run_body(&mut self, index: usize, running: &mut Running, state: KeyState) {
        if running.act == Act::Sql && running.tx.is_none() {
            let message = running.call.message.message_id.clone();
            let tx = self.pg.begin();
            if self.pg.locks.lock(tx, Place::Guest(message.clone()), Mode::Update).is_err() {
                self.pg.end(tx, false);
                running.until = self.now + 20;
                running.stage = CallStage::Body(state);
                return;
            }
            self.pg.guest.put(tx, message, Some(running.call.call.0));
            running.tx = Some(tx);
            // Where nothing is drawn, time passes by itself.
            running.until = self.now + if self.explored.is_some() { 0 } else { SQL_TIME };
        }
        if let Err(breach) = self.oracle.handed_over(&running.call) {
            self.violate(breach.rule, breach.text);
        }
        let shared = shared_read(running.act, &running.call.message);
        let shared = shared.map(|id| self.read_shared(index, &state, id));
        let body = Body {
            call: running.call.call,
            message: &running.call.message,
            version: &running.call.version,
            state,
            act: running.act,
        };
        let version = self.pg.draw_version();
        let chance = if self.explored.is_some() { 3 } else { self.chance(4) };
        running.stage = CallStage::Ended(Box::new(run(body, shared, version, chance)));
        if running.call.begin == Begin::Alone {
            self.note_came_back(&running.call);
        }
    }

    /// Notes that a message came back; where that has to wait, its settlement says it, a moment later.
    fn note_came_back(&mut self, call: &Call<KeyState>) {
        let tx = self.pg.begin();
        let flow = self.pg.note_came_back(tx, call.lease, &call.message);
        self.pg.end(tx, matches!(flow, Flow::Commit(())));
        if !matches!(flow, Flow::Wait(_)) {
            self.testify(&Deed::CameBack(call.lease, &call.message));
        }
    }

    /// Reads what its key left, or what the host knows, or what is committed.
    fn read_shared(&mut self, index: usize, state: &KeyState, id: StateId) -> StateRead {
        let StateId::Shared(name) = id else { return StateRead { id, version: 0, value: 0 } };
        if let Some((version, value)) = state.get(id) {
            return StateRead { id, version, value };
        }
        let (version, value) = self.committed_state(id);
        let now = self.now;
        let Some(host) = self.hosts.get_mut(index) else { return StateRead { id, version, value } };
        let cached = host.shared.entry(name).or_insert((version, value, now));
        if cached.2 + SHARED_AGE < now {
            *cached = (version, value, now);
        }
        StateRead { id, version: cached.0, value: cached.1 }
    }

    fn end_call(&mut self, index: usize, running: Running, end: CallEnd<KeyState, crate::guest::Effects>) {
        if let Some(tx) = running.tx {
            let message = running.call.message.message_id.clone();
            if let Some(host) = self.hosts.get_mut(index) {
                host.open.insert(end.call, OpenTransaction { tx, message, since: self.now });
            }
        }
        if running.call.version.once
            // A transaction of its own is lost with the lane's token, and what it did with it.
            && matches!(&end.end, EndOfCall::Decided { decision, .. } if !decision.has_sql && is_known(decision.ending))
            && let Some(host) = self.hosts.get(index)
        {
            self.oracle.saw_end(
                &running.call.message,
                SeenEnd { lane: running.call.lease.lane, session: host.session },
            );
        }
        self.feed(index, Event::CallsEnded(vec![end]));
    }
}

/// Tells an end that the host knows from that of a call during which its host was away.
fn is_known(ending: Ending) -> bool {
    ending != Ending::Dead(DeadReason::Interrupted)
}
