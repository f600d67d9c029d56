//! Permission to start calls: the breaker, an operator's pause, the session's remaining life.

use std::sync::Arc;
use std::time::Duration;

use super::HandlerMachine;
use super::command::{Command, Remark};
use super::event::{BreakerReply, Look, Outcome};
use crate::time::Moment;
use crate::verdict::BreakerPolicy;
use crate::verdict::breaker::{Breaker, Move, Sign};

/// A call must end this much before the session, so that its settlement is still ours.
const SETTLE_MARGIN: Duration = Duration::from_millis(200);

/// Change of the breaker that all hosts are still to hear of.
#[derive(Debug, Clone, Hash)]
enum Untold {
    Open(Arc<str>),
    Close,
}

/// Gate that every call passes: breaker, pause and session.
#[derive(Debug, Clone, Hash)]
pub(super) struct Admission {
    breaker: Breaker,
    /// Nothing starts before the first look.
    pub(super) paused: bool,
    /// Records that the pause by an operator was reported.
    said_paused: bool,
    pub(super) session_until: Moment,
    untold: Option<Untold>,
    telling: bool,
    /// Looks that began before then know less than we do.
    told_at: Moment,
    not_before: Moment,
}

impl Admission {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            breaker: Breaker::closed(),
            paused: true,
            said_paused: false,
            session_until: Moment::default(),
            untold: None,
            telling: false,
            // Whatever was seen before knows more than a machine that begins.
            told_at: Moment::default(),
            not_before: now,
        }
    }

    /// Gives how many more calls may start while `running` run.
    pub(super) fn room(&self, policy: BreakerPolicy, running: usize) -> usize {
        if self.paused { 0 } else { self.breaker.room(policy, running) }
    }

    /// Tells whether the session outlasts a call of this length.
    pub(super) fn outlasts(&self, deadline: Duration, now: Moment) -> bool {
        now + deadline + SETTLE_MARGIN < self.session_until
    }

    pub(super) fn due(&self) -> Option<Moment> {
        let probe_at = self.breaker.probe_at().filter(|_| !self.paused);
        let at = if self.untold.is_some() { Some(self.not_before) } else { probe_at };
        at.filter(|_| !self.telling).map(|at| at.max(self.not_before))
    }

    /// Tells whether the breaker is open, so that no call passes.
    pub(super) fn is_open(&self) -> bool {
        self.breaker.probe_at().is_some()
    }
}

impl<S: Clone, E: Clone> HandlerMachine<S, E> {
    /// A call's end says something about the handler.
    pub(super) fn breaker_moves(&mut self, sign: Sign, error: Arc<str>, now: Moment) {
        let policy = self.version.breaker;
        match self.admission.breaker.ended(sign, policy, now) {
            Move::Stay => {}
            Move::Open => {
                let remark = Remark::BreakerOpened { recovery: policy.recovery, error: Arc::clone(&error) };
                self.commands.push(Command::Say(remark));
                self.admission.untold = Some(Untold::Open(error));
            }
            Move::Close => {
                self.commands.push(Command::Say(Remark::BreakerClosed));
                self.admission.untold = Some(Untold::Close);
            }
        }
        self.tell_breaker(false, now);
    }

    /// Tells what is to be told; with `wanted`, asks for the probe where it is time for one.
    pub(super) fn tell_breaker(&mut self, wanted: bool, now: Moment) {
        let admission = &mut self.admission;
        if admission.telling || now < admission.not_before {
            return;
        }
        let recovery = self.version.breaker.recovery;
        let command = match &admission.untold {
            Some(Untold::Open(error)) => Command::OpenBreaker { recovery, error: Arc::clone(error) },
            Some(Untold::Close) => Command::CloseBreaker,
            None => {
                let probe = admission.breaker.probe_at().is_some_and(|at| at <= now);
                if !wanted || admission.paused || !probe {
                    return;
                }
                Command::ClaimProbe { recovery }
            }
        };
        admission.telling = true;
        self.commands.push(command);
    }

    pub(super) fn breaker_told(&mut self, outcome: Outcome<BreakerReply>, now: Moment) {
        let recovery = self.version.breaker.recovery;
        let admission = &mut self.admission;
        admission.telling = false;
        match outcome {
            Outcome::Done(BreakerReply::Written) => {
                admission.untold = None;
                admission.told_at = now;
            }
            Outcome::Done(BreakerReply::Probe(true)) => {
                admission.breaker.probe();
                admission.told_at = now;
            }
            // Another host probes, or the row is gone: a look will tell.
            Outcome::Done(BreakerReply::Probe(false)) => admission.not_before = now + recovery / 4,
            // Told or not, it may be told again.
            Outcome::NotDone(_) | Outcome::Unknown => admission.not_before = now + Duration::from_secs(1),
        }
    }

    /// Takes what a look saw of breaker and pause.
    pub(super) fn admission_looked(&mut self, look: &Look) {
        let admission = &mut self.admission;
        // A host that starts says it too.
        if look.paused && !admission.said_paused {
            self.commands.push(Command::Say(Remark::Paused));
        }
        (admission.paused, admission.said_paused) = (look.paused, look.paused);
        if !admission.telling && admission.untold.is_none() && look.began_at > admission.told_at {
            admission.breaker.learned(look.open_until);
        }
    }
}
