//! Starting calls, and what their ends mean.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::HandlerMachine;
use super::command::{Call, Command, EndedBy, How, Remark};
use super::doubt::Stuck;
use super::event::{CallEnd, EndOfCall, Outcome};
use super::version::Version;
use crate::ids::{CallId, LaneId, Lease, Seq};
use crate::lane::{CallValidity, Lane, Start};
use crate::time::Moment;
use crate::verdict::decide::DeadReason;

/// Notes of what is begun are to be about this far apart.
const MARKS_APART: Duration = Duration::from_millis(50);
/// The most messages that are noted ahead.
const AHEAD_MAX: usize = 2000;

/// A call under way.
#[derive(Debug, Clone, Hash)]
pub(super) struct RunningCall {
    pub(super) lease: Lease,
    pub(super) seq: Seq,
    pub(super) version: Arc<Version>,
}

/// End of a call that may be made once, kept for when its row is read again.
#[derive(Debug, Clone, Hash)]
pub(super) enum KeptEnd<E> {
    /// The call ended with this.
    Decided(How<E>),
    /// The handler was never called.
    NeverCalled,
}

impl<E> KeptEnd<E> {
    fn bytes(&self) -> usize {
        match self {
            Self::Decided(how) => how.bytes(),
            Self::NeverCalled => 0,
        }
    }
}

impl<S: Clone, E: Clone> HandlerMachine<S, E> {
    /// Starts what may start.
    pub(super) fn start_calls(&mut self, now: Moment) {
        if self.stop_by.is_some() || !self.admission.outlasts(self.version.deadline, now) {
            return;
        }
        self.note_effects();
        if self.effects_full {
            return;
        }
        let firsts = self.lanes.iter_mut().filter_map(|(id, lane)| Some((lane.first_ready(now)?, *id)));
        let mut firsts: BTreeSet<(Seq, LaneId)> = firsts.collect();
        self.tell_breaker(!firsts.is_empty(), now);
        if firsts.is_empty() {
            return;
        }
        let mut is_unmarked = false;
        while self.calls.len() < self.version.concurrency
            && self.admission.room(self.version.breaker, self.calls.len()) > 0
            && let Some((_, id)) = firsts.pop_first()
        {
            if !self.start_one(id, now) {
                is_unmarked = true;
                continue;
            }
            let next = self.lanes.get_mut(&id).and_then(|lane| lane.first_ready(now));
            firsts.extend(next.map(|seq| (seq, id)));
        }
        let short = |lane: &Lane<S, E>| lane.marked_ahead * 2 < self.marks.ahead;
        if is_unmarked || self.lanes.values().any(|lane| short(lane) && lane.next_mark(1).is_some()) {
            self.mark(now);
        }
    }

    /// Notes whether what calls left is as much as may be. What is decided is written without another call, so the bound
    /// frees itself; where only ends are left that are kept for rows which are read again, one call goes on all the same.
    fn note_effects(&mut self) {
        let kept = self.kept_ends.values().map(KeptEnd::bytes).sum::<usize>();
        let most = self.settings.effects_bytes_max.saturating_sub(kept);
        if self.effects() >= most {
            // State can be read again, and is no reason to wait.
            self.lanes.values_mut().for_each(Lane::forget_states);
        }
        let left = self.effects();
        let is_full = left >= most && (left > 0 || !self.calls.is_empty());
        if is_full && !self.effects_full {
            self.commands.push(Command::Say(Remark::EffectsFull));
        }
        self.effects_full = is_full;
    }

    /// Gives the bytes of what calls left in the lanes.
    #[must_use]
    pub fn effects(&self) -> usize {
        self.lanes.values().map(Lane::effects).sum()
    }

    /// Starts the lane's first message; false where it is to be noted first.
    fn start_one(&mut self, id: LaneId, now: Moment) -> bool {
        let call = CallId(self.next_id());
        let version = Arc::clone(&self.version);
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        let lease = lane.lease;
        match lane.start(call, &version, now) {
            Start::Call(started) => {
                // What was known of an earlier call says nothing of this one.
                self.kept_ends.remove(&(id, started.seq));
                let running = RunningCall { lease, seq: started.seq, version: Arc::clone(&version) };
                self.calls.insert(call, running);
                let (message, state, begin) = (started.message, started.state, started.begin);
                self.commands.push(Command::Call(Box::new(Call {
                    call,
                    lease,
                    message,
                    version,
                    state,
                    begin,
                })));
                true
            }
            Start::Dead(seq, reason, words) => {
                lane.decide(seq, EndedBy::Host(reason, words), version, None, now);
                true
            }
            Start::Begun(seq) => {
                match self.kept_ends.remove(&(id, seq)) {
                    Some(KeptEnd::Decided(how)) => lane.decide(seq, how.end, how.version, None, now),
                    Some(KeptEnd::NeverCalled) => lane.not_begun(seq),
                    None => {
                        let words =
                            "it was handed over before, may be handed over once, and its end is not known";
                        let end = EndedBy::Host(DeadReason::Interrupted, words.into());
                        lane.decide(seq, end, version, None, now);
                    }
                }
                true
            }
            Start::NotMarked => false,
            // Another event makes it ready again.
            Start::Nothing => true,
        }
    }

    /// Notes that the next messages are begun.
    fn mark(&mut self, now: Moment) {
        if self.marks.in_flight || !self.may_ask(now) {
            return;
        }
        let since = self.marks.sent_at.map_or(Duration::MAX, |at| now.since(at));
        let ahead = if since < MARKS_APART { self.marks.ahead * 2 } else { self.marks.ahead / 2 };
        self.marks.ahead = ahead.clamp((2 * self.version.concurrency).min(AHEAD_MAX), AHEAD_MAX);
        let lanes = self.lanes.len().max(1);
        let of_each = self.marks.ahead.div_ceil(lanes);
        let mut asked = Vec::new();
        for lane in self.lanes.values_mut().filter(|lane| !lane.in_flight.mark) {
            if let Some(seq) = lane.next_mark(of_each) {
                lane.in_flight.mark = true;
                asked.push((lane.lease, seq));
            }
        }
        if !asked.is_empty() {
            self.marks.in_flight = true;
            self.marks.sent_at = Some(now);
            self.commands.push(Command::Mark(asked));
        }
    }

    pub(super) fn marked(
        &mut self,
        asked: &[Lease],
        outcome: Outcome<std::collections::BTreeMap<LaneId, Seq>>,
        now: Moment,
    ) {
        self.marks.in_flight = false;
        let marked = match outcome {
            Outcome::Done(marked) => {
                self.postgres.over();
                Some(marked)
            }
            // Whatever is noted may be noted again.
            Outcome::NotDone(_) | Outcome::Unknown => {
                self.postgres.failed(now);
                None
            }
        };
        let ahead = self.marks.ahead.div_ceil(self.lanes.len().max(1));
        for lease in asked {
            let Some(lane) = self.lanes.get_mut(&lease.lane) else { continue };
            lane.in_flight.mark = false;
            let seq = marked.as_ref().and_then(|marked| marked.get(&lease.lane));
            if lane.lease != *lease || marked.is_none() {
                continue;
            }
            let Some(seq) = seq else {
                self.commands.push(Command::Say(Remark::LaneLost(lease.lane)));
                self.drop_lane(lease.lane, now);
                continue;
            };
            lane.started_to = lane.started_to.max(*seq);
            lane.marked_ahead = ahead;
        }
    }

    /// Takes in the end of a call: its decision counts, or it is void, or the message is called again.
    pub(super) fn call_ended(&mut self, ended: CallEnd<S, E>, now: Moment) {
        let CallEnd { call, end, sign: (sign, error) } = ended;
        let Some(RunningCall { lease, seq, version }) = self.calls.remove(&call) else { return };
        self.stuck = Stuck::default();
        self.breaker_moves(sign, error, now);
        let lane = self.lanes.get_mut(&lease.lane);
        let validity = lane.map(|lane| (lane.call_ended(call, seq, now), lane));
        match (validity, end) {
            (Some((CallValidity::Current, lane)), EndOfCall::Decided { decision, state }) => {
                lane.decide(seq, EndedBy::Call(decision), version, Some(state), now);
            }
            (lane, EndOfCall::Again { delay, never_called }) => {
                // Its row may say that it was handed over, and may be read before it is called again.
                if version.once && never_called && lane.is_some() {
                    self.kept_ends.insert((lease.lane, seq), KeptEnd::NeverCalled);
                }
                if let Some((CallValidity::Current, lane)) = lane {
                    lane.call_again(seq, delay, now);
                }
            }
            (Some((CallValidity::Current, lane)), EndOfCall::RowChanged) => lane.row_changed(seq, now),
            (None | Some((CallValidity::Stale, _)), EndOfCall::RowChanged) => {}
            (lane, EndOfCall::Decided { decision, .. }) => {
                // What its own transaction wrote is lost with it: then its end is not known.
                if decision.has_sql {
                    self.commands.push(Command::DropSql(call));
                } else if version.once && lane.is_some() {
                    let how = How { end: EndedBy::Call(decision), version, based_on: None, held: false };
                    self.kept_ends.insert((lease.lane, seq), KeptEnd::Decided(how));
                }
            }
        }
    }
}
