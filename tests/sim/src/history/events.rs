//! Events in few words.

use mailroom_core::handler_machine::event::{
    CallEnd, DueKeys, EndOfCall, Event, InboxRow, Outcome, Polled, RowsRead, SqlOutcome, StandingPage,
    TakenLane, WriteOutcome,
};
use mailroom_core::ids::TopicPartition;

use super::commands::{ending, lease, listed, order};
use crate::guest::{Effects, KeyState};

fn partitions<'p>(of: impl IntoIterator<Item = &'p TopicPartition>) -> String {
    listed(of, |of| format!("{}/{}", of.topic, of.partition))
}

fn outcome<T>(outcome: &Outcome<T>, show: impl Fn(&T) -> String) -> String {
    match outcome {
        Outcome::Done(result) => show(result),
        Outcome::NotDone(failure) => format!("not done ({failure:?})"),
        Outcome::Unknown => "unknown".to_owned(),
    }
}

fn taken(lanes: &Vec<TakenLane>) -> String {
    listed(lanes, |lane| format!("{}{}", lease(lane.lease), if lane.abandoned { " abandoned" } else { "" }))
}

fn standing(page: &StandingPage) -> String {
    let blocked = listed(&page.blocked, |(key, how)| format!("{key} {how:?}"));
    let held = listed(&page.held, |(key, wakes)| format!("{key}{}", if *wakes { " wakes" } else { "" }));
    format!("blocked [{blocked}] held [{held}]{}", if page.more { " and more" } else { "" })
}

fn row(row: &InboxRow) -> String {
    let key = row.message.okey.map_or_else(|| "-".to_owned(), |key| key.to_string());
    let due = if row.due_in.is_zero() { String::new() } else { format!(" in {} ms", row.due_in.as_millis()) };
    format!("{}/{key}{}{due}", row.message.seq, if row.held { "h" } else { "" })
}

fn rows(read: &RowsRead) -> String {
    let more = if read.more_of_lane || !read.more.is_empty() { " and more" } else { "" };
    format!("[{}]{more}", listed(&read.rows, row))
}

fn due(due: &DueKeys) -> String {
    let keys = listed(&due.due, |(of, seq)| format!("{seq} of {},", order(*of)));
    let next = due.next_in.map_or_else(String::new, |next| format!(" next in {} ms", next.as_millis()));
    let blocked = due.blocked.as_ref().map_or_else(String::new, |blocked| {
        format!(" blocked [{}]", listed(blocked, |(key, how)| format!("{key} {how:?}")))
    });
    let more = if due.more_after.is_some() { " and more" } else { "" };
    format!("[{keys}]{more}{next}{blocked} rereads {}", due.rereads)
}

fn polled(of: &Polled) -> String {
    let records = listed(&of.records, |record| {
        let key = record.message.okey.map_or_else(|| "-".to_owned(), |key| key.to_string());
        format!("{}@{}/{key}", record.message.message_id, record.message.offset)
    });
    format!("{}/{} to {} [{records}]", of.partition.topic, of.partition.partition, of.to)
}

fn written(of: &WriteOutcome<Effects>) -> String {
    match of {
        WriteOutcome::Done(written) => {
            let seqs = |name: &str, of: &std::collections::BTreeSet<_>| match of.is_empty() {
                true => String::new(),
                false => format!(" {name} {of:?}"),
            };
            let rereads = listed(&written.rereads, |(lane, count)| format!("L{lane}:{count}"));
            let (missed, duplicates) = (&written.missed, &written.duplicates);
            format!("done{}{} rereads {rereads}", seqs("missed", missed), seqs("duplicates", duplicates))
        }
        WriteOutcome::LanesLost(lanes) => format!("lanes lost {lanes:?}"),
        WriteOutcome::StateLost(of) => format!("state lost {of:?}"),
        WriteOutcome::Touched(lanes) => format!("touched {lanes:?}"),
        WriteOutcome::OffsetMoved(lanes) => format!("offset moved {lanes:?}"),
        WriteOutcome::BadData(instead) => {
            let instead =
                instead.as_ref().map_or_else(String::new, |how| format!(", instead {}", ending(how.ending)));
            format!("bad data{instead}")
        }
        WriteOutcome::NotDone(failure) => format!("not done ({failure:?})"),
        WriteOutcome::Unknown => "unknown".to_owned(),
    }
}

fn call_end(end: &CallEnd<KeyState, Effects>) -> String {
    match &end.end {
        EndOfCall::Decided { decision, .. } => {
            let wrote = if decision.wrote_state { " wrote" } else { "" };
            let sql = if decision.has_sql { " sql" } else { "" };
            format!("call {} {}{wrote}{sql}", end.call, ending(decision.ending))
        }
        EndOfCall::RowChanged => format!("call {} finds its row changed", end.call),
        EndOfCall::Again { delay, never_called } => {
            let never = if *never_called { ", never called" } else { "" };
            format!("call {} again in {} ms{never}", end.call, delay.as_millis())
        }
    }
}

fn sql(of: &SqlOutcome<Effects>) -> String {
    match of {
        SqlOutcome::Done { rereads, .. } => format!("done, rereads {rereads}"),
        SqlOutcome::LaneLost => "lane lost".to_owned(),
        SqlOutcome::Missed => "missed".to_owned(),
        SqlOutcome::Again => "again".to_owned(),
        SqlOutcome::Instead(decision) => format!("instead {}", ending(decision.ending)),
        SqlOutcome::Unknown => "unknown".to_owned(),
    }
}

/// Describes an event in one line.
pub(crate) fn event(event: &Event<KeyState, Effects>) -> String {
    match event {
        Event::Assigned(of) => format!("assigned {}", partitions(of)),
        Event::Revoked(of) => format!("revoked {}", partitions(of)),
        Event::Polled(of) => format!("polled {}", listed(of, polled)),
        Event::Displaced(of) => format!("displaced {}", partitions(of)),
        Event::SeqsDrawn(of) => format!(
            "drawn {}",
            outcome(of, |seqs| {
                let (first, last) = (seqs.first(), seqs.last());
                first.zip(last).map_or_else(String::new, |(first, last)| format!("{first}..={last}"))
            })
        ),
        Event::Taken { asked, outcome: of } => {
            format!("taken of [{}]: {}", partitions(asked), outcome(of, taken))
        }
        Event::Retaken { asked, outcome: of } => {
            format!("retaken of [{}]: {}", listed(asked, |lane| format!("L{lane}")), outcome(of, taken))
        }
        Event::Standing { lease: of, outcome: page } => {
            format!("standing {}: {}", lease(*of), outcome(page, standing))
        }
        Event::Read { lease: of, read, outcome: read_rows } => {
            format!("rows {} {}: {}", read.0, lease(*of), outcome(read_rows, rows))
        }
        Event::DueKeys { lease: of, read, outcome: keys } => {
            format!("due {} {}: {}", read.0, lease(*of), outcome(keys, due))
        }
        Event::Marked { outcome: of, .. } => {
            format!(
                "marked {}",
                outcome(of, |lanes| listed(lanes, |(lane, seq)| format!("L{lane} to {seq}")))
            )
        }
        Event::Written { write, outcome } => format!("written {write}: {}", written(outcome)),
        Event::SqlSettled { call, outcome } => format!("sql of call {call}: {}", sql(outcome)),
        Event::Released(lanes) => format!("released {}", listed(lanes, |lane| format!("L{lane}"))),
        Event::CallsEnded(ends) => listed(ends, call_end),
        Event::Positioned(found) => {
            format!(
                "positioned {}",
                listed(found, |(of, _, at)| format!("{}/{} {at:?}", of.topic, of.partition))
            )
        }
        Event::Looked(look) => format!(
            "looked {}{}{}",
            listed(&look.lanes, |(lane, owned)| {
                format!(
                    "L{lane}#{} rereads {}{}",
                    owned.token,
                    owned.rereads,
                    if owned.wanted { " wanted" } else { "" }
                )
            }),
            if look.paused { " paused" } else { "" },
            if look.open_until.is_some() { " breaker open" } else { "" }
        ),
        Event::BreakerTold(of) => format!("breaker {}", outcome(of, |reply| format!("{reply:?}"))),
        Event::VersionChanged(version) => format!("version {}", version.id),
        Event::SessionRenewed(until) => format!("session renewed until {}", until.0),
        Event::Stop { by } => format!("stop by {}", by.0),
        Event::Tick => "tick".to_owned(),
    }
}
