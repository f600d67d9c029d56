//! Commands and commits in few words.

use mailroom_core::handler_machine::command::{
    Begin, Command, EndedBy, How, LaneWrite, NewRowState, Read, ReadWhat, Write,
};
use mailroom_core::handler_machine::event::Ending;
use mailroom_core::ids::{Lease, OrderBy};

use crate::guest::{Effects, KeyState};
use crate::job::Task;
use crate::postgres::{Committed, Session, Status};

pub(super) fn lease(lease: Lease) -> String {
    format!("L{}#{}", lease.lane, lease.token)
}

pub(super) fn listed<T>(items: impl IntoIterator<Item = T>, show: impl Fn(T) -> String) -> String {
    items.into_iter().map(show).collect::<Vec<_>>().join(" ")
}

pub(super) fn order(of: OrderBy) -> String {
    match of {
        OrderBy::Key(key) => format!("key {key}"),
        OrderBy::Nothing(seq) => format!("alone {seq}"),
    }
}

pub(super) fn ending(ending: Ending) -> String {
    match ending {
        Ending::Done => "done".to_owned(),
        Ending::Dead(reason) => format!("dead({})", reason.as_str()),
        Ending::Waits { delay, counted } => {
            format!("waits({} ms{})", delay.as_millis(), if counted { "" } else { ", uncounted" })
        }
    }
}

fn how(how: &How<Effects>) -> String {
    let end = match &how.end {
        EndedBy::Call(decision) => ending(decision.ending),
        EndedBy::Host(reason, _) => format!("dead({}) by the host", reason.as_str()),
    };
    let on = how.based_on.map_or_else(String::new, |on| format!(" on {on}"));
    format!("{end}{}{on}", if how.held { " held" } else { "" })
}

fn lane_write(lane: &LaneWrite<Effects>) -> String {
    let settled = listed(&lane.settled, |settled| {
        format!(" {}{} {}", settled.message.seq, if settled.was_held { "h" } else { "" }, how(&settled.how))
    });
    let insert = lane.insert.as_ref().map_or_else(String::new, |insert| {
        let rows = listed(&insert.rows, |row| {
            let what = match &row.as_what {
                NewRowState::Pending => "pending".to_owned(),
                NewRowState::Running => "running".to_owned(),
                NewRowState::Held => "held".to_owned(),
                NewRowState::Ended(ended) => how(ended),
            };
            format!("+{} {what}{}", row.message.seq, if row.bare { " bare" } else { "" })
        });
        format!(" offset {}..{} {rows}", insert.from, insert.to)
    });
    let spill = listed(&lane.spill, |spill| {
        format!(" spill {}{}", spill.seq, if spill.wakes { " wakes" } else { "" })
    });
    format!("{}:{settled}{insert}{spill}", lease(lane.lease))
}

fn write(write: &Write<Effects>) -> String {
    format!("write {} [{}]", write.id, listed(&write.lanes, lane_write))
}

fn read(read: &Read) -> String {
    let what = match &read.what {
        ReadWhat::Lane { after } => format!("lane after {after}"),
        ReadWhat::Keys { keys, up_to } => {
            let keys = listed(keys, |(of, after)| format!("{} after {after}", order(*of)));
            format!("{keys}{}", up_to.map_or_else(String::new, |up_to| format!(" up to {up_to}")))
        }
    };
    let (limit, bytes_max) = (read.limit, read.bytes_max);
    format!("read {} {} {what}, {limit} rows, {bytes_max} bytes", read.read.0, lease(read.lease))
}

pub(super) fn command(command: &Command<KeyState, Effects>) -> String {
    match command {
        Command::Take(partitions) => {
            format!("take {}", listed(partitions, |of| format!("{}/{}", of.topic, of.partition)))
        }
        Command::Adopt { held } => format!("adopt beside {held}"),
        Command::Retake(lanes) => format!("retake {}", listed(lanes, |lane| format!("L{lane}"))),
        Command::Release(leases) => format!("release {}", listed(leases, |of| lease(*of))),
        Command::ReadStanding { lease: of, after } => {
            format!(
                "read-standing {}{}",
                lease(*of),
                after.map_or_else(String::new, |key| format!(" after key {key}"))
            )
        }
        Command::Read(of) => read(of),
        Command::ReadDue { lease: of, read, after, with_blocked } => {
            let from = after.map_or_else(|| "the start".to_owned(), |(_, seq)| seq.to_string());
            format!(
                "read-due {} {} from {from}{}",
                read.0,
                lease(*of),
                if *with_blocked { " with blocked" } else { "" }
            )
        }
        Command::Mark(marks) => {
            format!("mark {}", listed(marks, |(of, seq)| format!("{} to {seq}", lease(*of))))
        }
        Command::Write(of) => write(of),
        Command::SettleSql { call, lease: of, settled } => {
            format!("settle-sql of call {call} {} {} {}", lease(*of), settled.message.seq, how(&settled.how))
        }
        Command::DropSql(call) => format!("drop-sql of call {call}"),
        Command::Call(call) => {
            let begin = match call.begin {
                Begin::Free => "",
                Begin::Once => " once",
                Begin::Alone => " alone",
            };
            let state = if call.state.is_some() { " with state" } else { "" };
            format!("call {} of {}{begin}{state}", call.call, call.message.seq)
        }
        Command::Assign(partitions) => {
            format!(
                "assign {}",
                listed(partitions, |(of, at)| format!("{}/{} at {at}", of.topic, of.partition))
            )
        }
        Command::Unassign(of) => {
            format!("unassign {}", listed(of, |of| format!("{}/{}", of.topic, of.partition)))
        }
        Command::Pause(of) => format!("pause {}", listed(of, |of| format!("{}/{}", of.topic, of.partition))),
        Command::Resume(of) => {
            format!("resume {}", listed(of, |of| format!("{}/{}", of.topic, of.partition)))
        }
        Command::FindPositions(of) => {
            format!("find {}", listed(of, |(of, by)| format!("{}/{} {}", of.topic, of.partition, lease(*by))))
        }
        Command::DrawSeqs(count) => format!("draw {count} seqs"),
        Command::OpenBreaker { .. } => "open the breaker".to_owned(),
        Command::CloseBreaker => "close the breaker".to_owned(),
        Command::ClaimProbe { .. } => "claim the probe".to_owned(),
        Command::WakeRelay => "wake the relay".to_owned(),
        Command::Say(_) => "say".to_owned(),
    }
}

/// A piece of work.
pub(crate) fn task(task: &Task) -> String {
    match task {
        Task::Command(of) => command(of),
        Task::Beat => "heartbeat".to_owned(),
        Task::Bury => "burial".to_owned(),
        Task::Look => "look".to_owned(),
        Task::Sweep(leases) => format!("sweep {}", listed(leases, |of| lease(*of))),
        Task::Act(act) => format!("{act:?}"),
    }
}

/// Describes what a commit did, where it is of interest.
pub(crate) fn committed(session: Session, of: &Task, committed: &Committed) -> Option<String> {
    let rows = listed(&committed.inbox, |change| {
        let state = change.new.as_ref().map_or_else(String::new, |row| {
            let status = match row.status {
                Status::Pending => "pending",
                Status::Completed => "completed",
                Status::Failed(_) => "failed",
            };
            let place = if row.held { " held" } else { "" };
            format!("{status}{place}{}", if row.wakes { " wakes" } else { "" })
        });
        format!("{}={state}", change.key)
    });
    let what = match of {
        Task::Beat | Task::Look | Task::Bury => return None,
        Task::Command(Command::Write(write)) => format!("write {}", write.id),
        Task::Command(Command::DrawSeqs(_)) => return None,
        Task::Command(_) | Task::Sweep(_) | Task::Act(_) => task(of),
    };
    Some(format!("commit by {session}: {what} {rows}"))
}
