//! Events and commands of a relay, in few words.

use mailroom_core::relay::{Command, Delivery, Event, Failure, Marked, Row};

use super::job::Task;
use super::store::Message;

fn listed<T>(of: &[T], show: impl Fn(&T) -> String) -> String {
    of.iter().map(show).collect::<Vec<_>>().join(" ")
}

fn row(row: &Row<Message>) -> String {
    let key = row.record.key.map_or_else(|| "-".to_owned(), |key| key.to_string());
    format!("{}/{}/{key}", row.seq, row.topic)
}

fn rows(of: &[Row<Message>]) -> String {
    format!("[{}]", listed(of, row))
}

fn failed(failure: &Failure) -> String {
    let lost = if failure.connection_lost { ", connection lost" } else { "" };
    format!("failed{lost}, waits {:?}", failure.wait)
}

fn delivery(of: &Delivery) -> String {
    match &of.result {
        Ok((partition, offset)) => format!("t{} at {partition}/{offset}", of.ticket.0),
        Err(refusal) => {
            let by = if refusal.by_client { " by client" } else { "" };
            format!("t{} {:?}{by}", of.ticket.0, refusal.meaning)
        }
    }
}

/// Describes an event in one line.
pub(super) fn event(event: &Event<Message>) -> String {
    match event {
        Event::LaneTaken(lane) => format!("lane {lane} taken"),
        Event::LaneWanted(lane) => format!("lane {lane} wanted"),
        Event::LaneLost(lane) => format!("lane {lane} lost"),
        Event::LaneTouched(lane) => format!("lane {lane} touched"),
        Event::Woken => "woken".to_owned(),
        Event::SessionOutlasts(outlasts) => format!("session outlasts: {outlasts}"),
        Event::Looked(Ok(page)) => {
            let seen = &page.snapshot;
            let own = seen.own_id.map_or_else(String::new, |id| format!(" id {id}"));
            let of = format!("xmax {} open {:?} ended {:?}{own}", seen.xmax, seen.open, seen.ended);
            format!("looked {} drawn {} {of}", rows(&page.rows), seen.last_seq)
        }
        Event::LookedDue(Ok(page)) => format!("looked for due ones {} {:?}", rows(&page.rows), page.next_due),
        Event::LookedAside(Ok(page)) => format!("looked aside {}", rows(&page.rows)),
        Event::Looked(Err(failure)) => format!("look {}", failed(failure)),
        Event::LookedDue(Err(failure)) => format!("look for due ones {}", failed(failure)),
        Event::LookedAside(Err(failure)) => format!("look aside {}", failed(failure)),
        Event::Delivered(deliveries) => format!("delivered {}", listed(deliveries, delivery)),
        Event::Purged(producer) => format!("purged p{}", producer.0),
        Event::Marked(Ok(Marked::Done)) => "marked".to_owned(),
        Event::Marked(Ok(Marked::LanesLost(lanes))) => format!("not marked, lanes {lanes:?} are lost"),
        Event::Marked(Err(failure)) => format!("mark {}", failed(failure)),
        Event::Asked(Ok(missing)) => format!("asked, missing {missing:?}"),
        Event::Asked(Err(why)) => format!("asked, {why}"),
        Event::Told(Ok(tell)) => format!("told {tell:?}"),
        Event::Told(Err(failure)) => format!("tell {}", failed(failure)),
        Event::TimerDue => "timer".to_owned(),
        Event::Stop => "stop".to_owned(),
    }
}

/// A command; what is said to people has a line of its own.
pub(super) fn command(command: &Command<Message>) -> Option<String> {
    Some(match command {
        Command::Look(look) => {
            let ask = format!("look at {:?} above {:?}, {} at most", look.lanes, look.late, look.rows_max);
            let without =
                if look.without.is_empty() { String::new() } else { format!(" without {:?}", look.without) };
            let of = if look.stragglers.is_empty() {
                String::new()
            } else {
                format!(" stragglers {:?} floors {:?}", look.stragglers, look.floors)
            };
            format!("{ask}{without}{of}")
        }
        Command::LookDue(look) => format!("look for due ones, {} at most", look.rows_max),
        Command::LookAside(look) => format!("look aside for {}, {} at most", look.topic, look.rows_max),
        Command::Open(producer) => format!("open p{}", producer.0),
        Command::Send { producer, ticket, row: sent, timestamp } => {
            let time = if *timestamp { "" } else { " without time" };
            format!("send p{} t{} {}{time}", producer.0, ticket.0, row(sent))
        }
        Command::Purge(producer) => format!("purge p{}", producer.0),
        Command::Mark(batch) => {
            let published = listed(&batch.published, |published| row(&published.row));
            let refused = listed(&batch.refused, |(refused, _)| row(refused));
            format!("mark [{published}] fail [{refused}]")
        }
        Command::Ask(topics) => format!("ask for {topics:?}"),
        Command::Tell(tell) => format!("tell {tell:?}"),
        Command::Release(lanes) => format!("release {lanes:?}"),
        Command::Stopped => "stopped".to_owned(),
        Command::Say(_) => return None,
    })
}

/// A piece of work at the database.
pub(super) fn task(task: &Task) -> String {
    match task {
        Task::Command(of) => command(of).unwrap_or_default(),
        Task::Mark(batch, _) => command(&Command::Mark(batch.clone())).unwrap_or_default(),
        Task::Beat => "renewal".to_owned(),
        Task::Bury => "burial".to_owned(),
        Task::Share { .. } => "taking of lanes".to_owned(),
        Task::Look => "look at lanes".to_owned(),
        Task::Release(leases) => format!("release of {leases:?}"),
        Task::Replay(seq) => format!("replay of row {seq}"),
    }
}
