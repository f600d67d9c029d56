//! Brings what came of a command, in the model or in Postgres, into words that can be compared.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use mailroom_core::handler_machine::event::{
    BreakerReply, Decision, DueKeys, Ending, Event, InboxRow, Outcome, SqlOutcome, TakenLane, WriteOutcome,
    Written,
};
use mailroom_core::ids::{LaneId, Seq};

/// Says what came of a command but for durations, with lanes as the model has them.
pub(super) fn told<S, E>(event: &Event<S, E>, model: &dyn Fn(LaneId) -> LaneId) -> String {
    match event {
        Event::Taken { outcome, .. } => format!("taken {}", done(outcome, |lanes| taken(lanes))),
        Event::Retaken { outcome, .. } => format!("retaken {}", done(outcome, |lanes| taken(lanes))),
        Event::Released(_) => "released".to_owned(),
        Event::Standing { outcome, .. } => done(outcome, |page| {
            let blocked: BTreeSet<String> = page.blocked.iter().map(words).collect();
            format!("standing {:?} {blocked:?} {}", page.held, page.more)
        }),
        Event::Read { outcome, .. } => done(outcome, |read| {
            let rows: Vec<String> = read.rows.iter().map(|row| inbox_row(row, model)).collect();
            format!("read {rows:#?} {:?} {}", read.more, read.more_of_lane)
        }),
        Event::DueKeys { outcome, .. } => done(outcome, due_keys),
        Event::Marked { outcome, .. } => done(outcome, |marked| {
            let marked: BTreeSet<(LaneId, Seq)> =
                marked.iter().map(|(lane, seq)| (model(*lane), *seq)).collect();
            format!("marked {marked:?}")
        }),
        Event::Written { outcome, .. } => format!("written {}", write_outcome(outcome, model)),
        Event::SeqsDrawn(outcome) => done(outcome, |seqs| format!("seqs {seqs:?}")),
        Event::BreakerTold(outcome) => done(outcome, |reply| format!("breaker {reply:?}")),
        Event::Positioned(found) => format!("positioned {found:?}"),
        Event::SqlSettled { outcome, .. } => match outcome {
            SqlOutcome::Done { rereads, emitted } => format!("sql settled {rereads} {emitted}"),
            SqlOutcome::Instead(instead) => format!("sql settled instead: {}", decision(instead)),
            SqlOutcome::LaneLost => "sql settled: lane lost".to_owned(),
            SqlOutcome::Missed => "sql settled: missed".to_owned(),
            SqlOutcome::Again => "sql settled: again".to_owned(),
            SqlOutcome::Unknown => "sql settled: unknown".to_owned(),
        },
        Event::Assigned(_)
        | Event::Revoked(_)
        | Event::Polled(_)
        | Event::Displaced(_)
        | Event::CallsEnded(_)
        | Event::Looked(_)
        | Event::VersionChanged(_)
        | Event::SessionRenewed(_)
        | Event::Stop { .. }
        | Event::Tick => "nothing of Postgres".to_owned(),
    }
}

/// Names what came of a command, to count what was compared.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is not of Postgres")]
pub(super) fn kind<S, E>(event: &Event<S, E>) -> &'static str {
    match event {
        Event::Taken { outcome: Outcome::Done(lanes), .. } => match lanes.as_slice() {
            [] => "taken: none",
            lanes if lanes.iter().any(|lane| lane.abandoned) => "taken: abandoned",
            _ => "taken",
        },
        Event::Retaken { outcome: Outcome::Done(lanes), .. } if lanes.is_empty() => "retaken: none",
        Event::Retaken { .. } => "retaken",
        Event::Released(_) => "released",
        Event::Standing { outcome: Outcome::Done(page), .. } if page.more => "standing: more",
        Event::Standing { .. } => "standing",
        Event::Read { outcome: Outcome::Done(read), .. } => {
            if read.more_of_lane {
                "read: more of the lane"
            } else if !read.more.is_empty() {
                "read: more of a key"
            } else if read.rows.is_empty() {
                "read: nothing"
            } else {
                "read"
            }
        }
        Event::DueKeys { outcome: Outcome::Done(due), .. } if due.more_after.is_some() => "due: more",
        Event::DueKeys { outcome: Outcome::Done(due), .. } if due.next_in.is_some() => "due: some later",
        Event::DueKeys { .. } => "due",
        Event::Marked { outcome: Outcome::Done(marked), .. } if marked.is_empty() => "marked: none",
        Event::Marked { .. } => "marked",
        Event::Written { outcome, .. } => written_kind(outcome),
        Event::SeqsDrawn(_) => "seqs drawn",
        Event::BreakerTold(Outcome::Done(BreakerReply::Probe(true))) => "probe claimed",
        Event::BreakerTold(_) => "breaker told",
        Event::Positioned(_) => "positioned",
        Event::SqlSettled { outcome, .. } => match outcome {
            SqlOutcome::Done { .. } => "sql settled",
            SqlOutcome::LaneLost => "sql settled: lane lost",
            SqlOutcome::Missed => "sql settled: missed",
            SqlOutcome::Again => "sql settled: again",
            SqlOutcome::Instead(_) => "sql settled: instead",
            SqlOutcome::Unknown => "sql settled: unknown",
        },
        _ => "nothing of Postgres",
    }
}

fn written_kind<E>(outcome: &WriteOutcome<E>) -> &'static str {
    match outcome {
        WriteOutcome::Done(written) if !written.missed.is_empty() => "written: some missed",
        WriteOutcome::Done(written) if !written.duplicates.is_empty() => "written: some duplicates",
        WriteOutcome::Done(_) => "written",
        WriteOutcome::LanesLost(_) => "written: lanes lost",
        WriteOutcome::StateLost(_) => "written: state lost",
        WriteOutcome::Touched(_) => "written: touched",
        WriteOutcome::OffsetMoved(_) => "written: offset moved",
        WriteOutcome::BadData(None) => "written: bad data",
        WriteOutcome::BadData(Some(_)) => "written: bad data of one",
        WriteOutcome::NotDone(_) => "written: not done",
        WriteOutcome::Unknown => "written: unknown",
    }
}

/// Gives the durations that came with it, in one order.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest has none")]
pub(super) fn waits<S, E>(event: &Event<S, E>) -> Vec<Duration> {
    match event {
        Event::Read { outcome: Outcome::Done(read), .. } => {
            let mut rows: Vec<_> = read.rows.iter().map(|row| (row.message.seq, row.due_in)).collect();
            rows.sort_unstable();
            rows.into_iter().map(|(_, due_in)| due_in).collect()
        }
        Event::DueKeys { outcome: Outcome::Done(due), .. } => due.next_in.into_iter().collect(),
        _ => Vec::new(),
    }
}

fn words(thing: &impl Debug) -> String {
    format!("{thing:?}")
}

fn done<T>(outcome: &Outcome<T>, say: impl FnOnce(&T) -> String) -> String {
    match outcome {
        Outcome::Done(answer) => say(answer),
        Outcome::NotDone(failure) => format!("not done: {failure:?}"),
        Outcome::Unknown => "unknown".to_owned(),
    }
}

fn taken(lanes: &[TakenLane]) -> String {
    let mut lanes: Vec<String> = lanes
        .iter()
        .map(|of| {
            format!("{} {} {} {} {}", of.partition, of.lease.token, of.rereads, of.abandoned, of.last_seq)
        })
        .collect();
    lanes.sort_unstable();
    format!("{lanes:?}")
}

/// Says all that the machine sees of a row but when it is due.
fn inbox_row(row: &InboxRow, model: &dyn Fn(LaneId) -> LaneId) -> String {
    let mut message = (*row.message).clone();
    message.lane = model(LaneId(message.lane)).0;
    let InboxRow { held, wakes, unfit, claimed, .. } = row;
    format!("{message:?} {held} {wakes} {unfit:?} {claimed}")
}

fn due_keys(due: &DueKeys) -> String {
    let DueKeys { due, more_after, next_in, blocked, rereads } = due;
    let blocked: Option<BTreeSet<String>> =
        blocked.as_ref().map(|blocked| blocked.iter().map(words).collect());
    let more_after = more_after.map(|(_, seq)| seq);
    format!("due {due:?} {more_after:?} {} {blocked:?} {rereads}", next_in.is_some())
}

fn write_outcome<E>(outcome: &WriteOutcome<E>, model: &dyn Fn(LaneId) -> LaneId) -> String {
    let lanes = |lanes: &BTreeSet<LaneId>| lanes.iter().map(|lane| model(*lane)).collect::<BTreeSet<_>>();
    let places = |places: &BTreeSet<(LaneId, Seq)>| {
        places.iter().map(|(lane, seq)| (model(*lane), *seq)).collect::<BTreeSet<_>>()
    };
    match outcome {
        WriteOutcome::Done(Written { missed, duplicates, rereads, emitted }) => {
            let rereads: BTreeSet<_> = rereads.iter().map(|(lane, count)| (model(*lane), *count)).collect();
            let (missed, duplicates) = (places(missed), places(duplicates));
            format!("missed {missed:?} duplicates {duplicates:?} {rereads:?} emitted {emitted}")
        }
        WriteOutcome::LanesLost(lost) => format!("lanes lost {:?}", lanes(lost)),
        WriteOutcome::StateLost(lost) => format!("state lost {:?}", places(lost)),
        WriteOutcome::Touched(touched) => {
            let touched: BTreeSet<_> = touched.iter().map(|(lane, count)| (model(*lane), *count)).collect();
            format!("touched {touched:?}")
        }
        WriteOutcome::OffsetMoved(moved) => format!("offset moved {:?}", lanes(moved)),
        WriteOutcome::BadData(None) => "bad data".to_owned(),
        WriteOutcome::BadData(Some(instead)) => format!("bad data of one: {}", decision(instead)),
        WriteOutcome::NotDone(failure) => format!("not done: {failure:?}"),
        WriteOutcome::Unknown => "unknown".to_owned(),
    }
}

/// Says how a message ends; the time that it waits is drawn by chance.
fn decision<E>(decision: &Decision<E>) -> String {
    let Decision { ending, wrote_state, has_sql, .. } = decision;
    match ending {
        Ending::Waits { counted, .. } => format!("waits {counted} {wrote_state} {has_sql}"),
        Ending::Done | Ending::Dead(_) => format!("{ending:?} {wrote_state} {has_sql}"),
    }
}
