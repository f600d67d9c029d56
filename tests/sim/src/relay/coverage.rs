//! Coverage of a relay's run: which events with which outcomes and which commands it had.

use mailroom_core::relay::{Command, Delivery, Event, Failure, Marked, Notice, RefusalMeaning, Tell};

use super::store::Message;
use crate::coverage::Coverage;

/// Names that every large number of runs has to reach.
pub(crate) const EXPECTED: [&str; 61] = [
    "relay event lane-taken",
    "relay event lane-wanted",
    "relay event lane-lost",
    "relay event lane-touched",
    "relay event woken",
    "relay event session outlasts",
    "relay event session ends-soon",
    "relay event looked done",
    "relay event looked late",
    "relay event looked cut",
    "relay event looked failed",
    "relay event looked connection-lost",
    "relay event looked-due done",
    "relay event looked-due failed",
    "relay event looked-due connection-lost",
    "relay event looked-aside done",
    "relay event looked-aside failed",
    "relay event looked-aside connection-lost",
    "relay event delivered done",
    "relay event delivered record",
    "relay event delivered record-by-client",
    "relay event delivered timestamp",
    "relay event delivered topic",
    "relay event delivered partition",
    "relay event delivered producer",
    "relay event delivered producer-by-client",
    "relay event purged",
    "relay event marked done",
    "relay event marked lanes-lost",
    "relay event marked failed",
    "relay event marked connection-lost",
    "relay event asked done",
    "relay event asked missing",
    "relay event asked failed",
    "relay event told asleep",
    "relay event told awake",
    "relay event told failed",
    "relay event told connection-lost",
    "relay event timer",
    "relay event stop",
    "relay command look",
    "relay command look-late",
    "relay command look-due",
    "relay command look-aside",
    "relay command open",
    "relay command send",
    "relay command purge",
    "relay command mark",
    "relay command fail",
    "relay command ask",
    "relay command tell",
    "relay command release",
    "relay command stopped",
    "relay says topic-waits",
    "relay says topic-goes-on",
    "relay says producer-renewed",
    "relay says without-timestamps",
    "relay says another-server",
    "relay says sequence-fell-back",
    "relay kafka late",
    "relay host buried",
];

impl Coverage {
    pub(super) fn relay_event(&mut self, event: &Event<Message>) {
        let name = match event {
            Event::LaneTaken(_) => "lane-taken",
            Event::LaneWanted(_) => "lane-wanted",
            Event::LaneLost(_) => "lane-lost",
            Event::LaneTouched(_) => "lane-touched",
            Event::Woken => "woken",
            Event::SessionOutlasts(true) => "session outlasts",
            Event::SessionOutlasts(false) => "session ends-soon",
            Event::Looked(Ok(page)) if !page.snapshot.ended.is_empty() => "looked late",
            Event::Looked(Ok(page)) if page.is_cut => "looked cut",
            Event::Looked(looked) => return self.relay_outcome("looked", looked),
            Event::LookedDue(looked) => return self.relay_outcome("looked-due", looked),
            Event::LookedAside(looked) => return self.relay_outcome("looked-aside", looked),
            Event::Delivered(deliveries) => {
                for delivery in deliveries {
                    self.count_relay(&format!("event delivered {}", how(delivery)));
                }
                return;
            }
            Event::Purged(_) => "purged",
            Event::Marked(Ok(Marked::LanesLost(_))) => "marked lanes-lost",
            Event::Marked(marked) => return self.relay_outcome("marked", marked),
            Event::Asked(Ok(missing)) if missing.is_empty() => "asked done",
            Event::Asked(Ok(_)) => "asked missing",
            Event::Asked(Err(_)) => "asked failed",
            Event::Told(Ok(Tell::Asleep)) => "told asleep",
            Event::Told(Ok(Tell::Awake)) => "told awake",
            Event::Told(told) => return self.relay_outcome("told", told),
            Event::TimerDue => "timer",
            Event::Stop => "stop",
        };
        self.count_relay(&format!("event {name}"));
    }

    fn relay_outcome<T>(&mut self, name: &str, outcome: &Result<T, Failure>) {
        let how = match outcome {
            Ok(_) => "done",
            Err(failure) if failure.connection_lost => "connection-lost",
            Err(_) => "failed",
        };
        self.count_relay(&format!("event {name} {how}"));
    }

    pub(super) fn relay_command(&mut self, command: &Command<Message>) {
        let name = match command {
            Command::Look(look) if look.stragglers.is_empty() => "command look",
            Command::Look(_) => "command look-late",
            Command::LookDue(_) => "command look-due",
            Command::LookAside(_) => "command look-aside",
            Command::Open(_) => "command open",
            Command::Send { .. } => "command send",
            Command::Purge(_) => "command purge",
            Command::Mark(batch) if batch.refused.is_empty() => "command mark",
            Command::Mark(_) => "command fail",
            Command::Ask(_) => "command ask",
            Command::Tell(_) => "command tell",
            Command::Release(_) => "command release",
            Command::Stopped => "command stopped",
            Command::Say(notice) => match notice {
                Notice::TopicWaits { .. } => "says topic-waits",
                Notice::TopicGoesOn { .. } => "says topic-goes-on",
                Notice::ProducerRenewed { .. } => "says producer-renewed",
                Notice::WithoutTimestamps { .. } => "says without-timestamps",
                Notice::AnotherServer => "says another-server",
                Notice::SequenceFellBack { .. } => "says sequence-fell-back",
            },
        };
        self.count_relay(name);
    }
}

fn how(delivery: &Delivery) -> &'static str {
    let Err(refusal) = &delivery.result else { return "done" };
    match (refusal.meaning, refusal.by_client) {
        (RefusalMeaning::Record, true) => "record-by-client",
        (RefusalMeaning::Record, false) => "record",
        (RefusalMeaning::Timestamp, _) => "timestamp",
        (RefusalMeaning::Topic, _) => "topic",
        (RefusalMeaning::Partition, _) => "partition",
        (RefusalMeaning::Producer, true) => "producer-by-client",
        (RefusalMeaning::Producer, false) => "producer",
    }
}
