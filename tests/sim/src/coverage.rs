//! Coverage of a run: which events with which outcomes, which commands and which hazards it had.

use std::collections::BTreeMap;

use mailroom_core::handler_machine::command::{Begin, Command, ReadWhat, Remark};
use mailroom_core::handler_machine::event::{
    BreakerReply, EndOfCall, Ending, Event, FoundPosition, Outcome, SqlOutcome, WriteOutcome,
};

use crate::guest::{Effects, KeyState};
use crate::setup::Hazard;

/// Counts by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coverage {
    pub(crate) counts: BTreeMap<String, u64>,
}

/// Names that every large number of runs has to reach.
pub(crate) const EXPECTED: [&str; 67] = [
    "event assigned",
    "event revoked",
    "event polled",
    "event displaced",
    "event seqs-drawn done",
    "event seqs-drawn not-done",
    "event seqs-drawn unknown",
    "event taken done",
    "event taken not-done",
    "event taken unknown",
    "event retaken done",
    "event retaken not-done",
    "event retaken unknown",
    "event standing done",
    "event standing not-done",
    "event standing unknown",
    "event read done",
    "event read not-done",
    "event read unknown",
    "event due-keys done",
    "event due-keys not-done",
    "event due-keys unknown",
    "event marked done",
    "event marked not-done",
    "event marked unknown",
    "event written done",
    "event written missed",
    "event written duplicates",
    "event written lanes-lost",
    "event written state-lost",
    "event written offset-moved",
    "event written touched",
    "event written bad-data",
    "event written bad-data-alone",
    "event written not-done",
    "event written unknown",
    "event sql-settled done",
    "event sql-settled lane-lost",
    "event sql-settled missed",
    "event sql-settled again",
    "event sql-settled unknown",
    "event released",
    "event call-ended done",
    "event call-ended dead",
    "event call-ended waits",
    "event call-ended again",
    "event positioned at",
    "event positioned unknown",
    "event looked",
    "event breaker written",
    "event breaker probe",
    "event breaker no-probe",
    "event breaker unknown",
    "event version-changed",
    "event session-renewed",
    "event stop",
    "event tick",
    "command read-lane",
    "command read-keys",
    "command read-due",
    "command adopt",
    "command pause",
    "command resume",
    "command settle-sql",
    "command open-breaker",
    "command claim-probe",
    "command say-effects-full",
];

impl Coverage {
    fn count(&mut self, name: String) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// Counts what the relay had.
    pub(crate) fn count_relay(&mut self, name: &str) {
        self.count(format!("relay {name}"));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (name, count) in &other.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
    }

    /// Returns the names that were expected and not reached.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let expected = EXPECTED.iter().chain(&crate::relay::coverage::EXPECTED);
        expected.filter(|name| !self.counts.contains_key(**name)).copied().collect()
    }

    pub(crate) fn hazard(&mut self, hazard: Hazard) {
        self.count(format!("hazard {hazard:?}"));
    }

    pub(crate) fn event(&mut self, event: &Event<KeyState, Effects>) {
        let name = match event {
            Event::Assigned(_) => "assigned",
            Event::Revoked(_) => "revoked",
            Event::Polled(_) => "polled",
            Event::Displaced(_) => "displaced",
            Event::SeqsDrawn(outcome) => return self.outcome("seqs-drawn", outcome),
            Event::Taken { outcome, .. } => return self.outcome("taken", outcome),
            Event::Retaken { outcome, .. } => return self.outcome("retaken", outcome),
            Event::Standing { outcome, .. } => return self.outcome("standing", outcome),
            Event::Read { outcome, .. } => return self.outcome("read", outcome),
            Event::DueKeys { outcome, .. } => return self.outcome("due-keys", outcome),
            Event::Marked { outcome, .. } => return self.outcome("marked", outcome),
            Event::Written { outcome, .. } => return self.written(outcome),
            Event::SqlSettled { outcome, .. } => match outcome {
                SqlOutcome::Done { .. } => "sql-settled done",
                SqlOutcome::LaneLost => "sql-settled lane-lost",
                SqlOutcome::Missed => "sql-settled missed",
                SqlOutcome::Again => "sql-settled again",
                SqlOutcome::Instead(_) => "sql-settled instead",
                SqlOutcome::Unknown => "sql-settled unknown",
            },
            Event::Released(_) => "released",
            Event::CallsEnded(ends) => {
                for end in ends {
                    self.count(format!("event call-ended {}", end_name(&end.end)));
                }
                return;
            }
            Event::Positioned(found) => {
                for (_, _, found) in found {
                    self.count(format!("event positioned {}", position_name(found)));
                }
                return;
            }
            Event::Looked(_) => "looked",
            Event::BreakerTold(Outcome::Done(BreakerReply::Written)) => "breaker written",
            Event::BreakerTold(Outcome::Done(BreakerReply::Probe(true))) => "breaker probe",
            Event::BreakerTold(Outcome::Done(BreakerReply::Probe(false))) => "breaker no-probe",
            Event::BreakerTold(outcome) => return self.outcome("breaker", outcome),
            Event::VersionChanged(_) => "version-changed",
            Event::SessionRenewed(_) => "session-renewed",
            Event::Stop { .. } => "stop",
            Event::Tick => "tick",
        };
        self.count(format!("event {name}"));
    }

    fn outcome<T>(&mut self, name: &str, outcome: &Outcome<T>) {
        let how = match outcome {
            Outcome::Done(_) => "done",
            Outcome::NotDone(_) => "not-done",
            Outcome::Unknown => "unknown",
        };
        self.count(format!("event {name} {how}"));
    }

    fn written(&mut self, outcome: &WriteOutcome<Effects>) {
        let how = match outcome {
            WriteOutcome::Done(written) if !written.missed.is_empty() => "missed",
            WriteOutcome::Done(written) if !written.duplicates.is_empty() => "duplicates",
            WriteOutcome::Done(_) => "done",
            WriteOutcome::LanesLost(_) => "lanes-lost",
            WriteOutcome::StateLost(_) => "state-lost",
            WriteOutcome::Touched(_) => "touched",
            WriteOutcome::OffsetMoved(_) => "offset-moved",
            WriteOutcome::BadData(None) => "bad-data",
            WriteOutcome::BadData(Some(_)) => "bad-data-alone",
            WriteOutcome::NotDone(_) => "not-done",
            WriteOutcome::Unknown => "unknown",
        };
        self.count(format!("event written {how}"));
    }

    pub(crate) fn command(&mut self, command: &Command<KeyState, Effects>) {
        self.count(format!("command {}", command_name(command)));
    }
}

fn end_name(end: &EndOfCall<KeyState, Effects>) -> &'static str {
    match end {
        EndOfCall::Again { .. } => "again",
        EndOfCall::RowChanged => "row-changed",
        EndOfCall::Decided { decision, .. } => match decision.ending {
            Ending::Done => "done",
            Ending::Dead(_) => "dead",
            Ending::Waits { .. } => "waits",
        },
    }
}

fn position_name(found: &FoundPosition) -> &'static str {
    match found {
        FoundPosition::At { .. } => "at",
        FoundPosition::Stopped => "stopped",
        FoundPosition::Unknown => "unknown",
    }
}

/// A command in a word.
pub(crate) fn command_name(command: &Command<KeyState, Effects>) -> &'static str {
    match command {
        Command::Take(_) => "take",
        Command::Adopt { .. } => "adopt",
        Command::Retake(_) => "retake",
        Command::Release(_) => "release",
        Command::ReadStanding { .. } => "read-standing",
        Command::Read(read) => match read.what {
            ReadWhat::Lane { .. } => "read-lane",
            ReadWhat::Keys { .. } => "read-keys",
        },
        Command::ReadDue { .. } => "read-due",
        Command::Mark(_) => "mark",
        Command::Write(_) => "write",
        Command::SettleSql { .. } => "settle-sql",
        Command::DropSql(_) => "drop-sql",
        Command::Call(call) => match call.begin {
            Begin::Free => "call",
            Begin::Once => "call-once",
            Begin::Alone => "call-alone",
        },
        Command::Assign(_) => "assign",
        Command::Unassign(_) => "unassign",
        Command::Pause(_) => "pause",
        Command::Resume(_) => "resume",
        Command::FindPositions(_) => "find-positions",
        Command::DrawSeqs(_) => "draw-seqs",
        Command::OpenBreaker { .. } => "open-breaker",
        Command::CloseBreaker => "close-breaker",
        Command::ClaimProbe { .. } => "claim-probe",
        Command::WakeRelay => "wake-relay",
        Command::Say(Remark::EffectsFull) => "say-effects-full",
        Command::Say(_) => "say",
    }
}
