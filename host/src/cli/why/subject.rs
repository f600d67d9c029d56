//! Subjects of a question, which are messages, keys and lanes, and what each waits for.

use chrono::{DateTime, Utc};
use mailroom_core::ids::TopicPartition;
use serde::Serialize;
use serde_json::Value;

use super::known::Known;
use super::reason::{Cause, Reason};
use crate::cli::failure::Failure;
use crate::config::Config;
use crate::db::status::LaneRow;
use crate::db::why::{self, Row};
use crate::db::{Db, dead_letters};
use crate::kafka::hidden_from;
use crate::shown;

/// A message, a key or a lane.
#[derive(Debug, Serialize)]
pub(super) struct Subject {
    /// `message`, `key` or `lane`.
    pub(super) kind: &'static str,
    /// `inbox` or `outbox`.
    pub(super) of: &'static str,
    pub(super) id: Option<String>,
    /// The producer's id.
    pub(super) message_id: Option<String>,
    pub(super) lane: i32,
    pub(super) consumer_group: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) partition: Option<i32>,
    pub(super) offset: Option<i64>,
    pub(super) key: Value,
}

impl Subject {
    /// A row, as the first of its key or by itself.
    pub(super) fn of_row(kind: &'static str, row: &Row) -> Self {
        Self {
            kind,
            of: if row.is_of_inbox() { "inbox" } else { "outbox" },
            id: Some(row.id.to_string()),
            message_id: row.message_id.clone(),
            lane: row.lane,
            consumer_group: row.consumer_group.clone(),
            topic: Some(row.topic.clone()),
            partition: row.partition.or(row.published_partition),
            offset: row.offset.or(row.published_offset),
            key: shown::bytes_as_json(row.key.as_deref()),
        }
    }

    pub(super) fn of_lane(lane: &LaneRow) -> Self {
        Self {
            kind: "lane",
            of: if lane.consumer_group.is_some() { "inbox" } else { "outbox" },
            id: None,
            message_id: None,
            lane: lane.id,
            consumer_group: lane.consumer_group.clone(),
            topic: lane.topic.clone(),
            partition: lane.partition,
            offset: None,
            key: Value::Null,
        }
    }

    /// The same for people.
    pub(super) fn words(&self) -> String {
        let mut words = match &self.id {
            Some(id) if self.kind == "key" => format!("key {}, whose next message is {id}", self.key),
            Some(id) => format!("message {id}"),
            None if self.kind == "key" => format!("key {}", self.key),
            None => format!("lane {}", self.lane),
        };
        match &self.consumer_group {
            Some(group) => words.push_str(&format!(" of {group}")),
            None => words.push_str(" of the outbox"),
        }
        match (&self.topic, self.partition, self.offset) {
            (Some(topic), Some(partition), Some(offset)) => {
                words.push_str(&format!(", {topic}/{partition} offset {offset}"));
            }
            (Some(topic), Some(partition), None) => words.push_str(&format!(", {topic}/{partition}")),
            (Some(topic), None, _) => words.push_str(&format!(", to {topic}")),
            (None, ..) => {}
        }
        words
    }
}

/// Gives what a message waits for, the most decisive first.
pub(super) async fn of_message(db: &Db, known: &Known, row: &Row) -> Result<Vec<Cause>, Failure> {
    match row.status.as_str() {
        "completed" => return Ok(vec![completed(row)]),
        "failed" => return Ok(vec![dead(db, row).await?]),
        _ => {}
    }
    let mut causes = of_its_place(known, row);
    causes.extend(of_its_key(db, known, row).await?);
    causes.extend(of_its_time(known, row));
    if causes.is_empty() {
        causes.push(turn(db, known, row).await?);
    }
    Ok(causes)
}

fn completed(row: &Row) -> Cause {
    let cause = Cause::new(Reason::Completed).since(row.completed_at);
    match (&row.outcome, &row.outcome_reason, row.published_partition, row.published_offset) {
        (Some(outcome), Some(why), ..) => cause.detail(format!("{outcome}: {why}")),
        (Some(outcome), None, ..) => cause.detail(outcome),
        (None, _, Some(partition), Some(offset)) => {
            cause.detail(format!("it is in {}/{partition} at offset {offset}", row.topic))
        }
        _ => cause,
    }
}

async fn dead(db: &Db, row: &Row) -> Result<Cause, Failure> {
    let reason = row.failed_reason.as_deref().unwrap_or_default();
    let error = row.last_error.as_deref().unwrap_or_default();
    let cause = Cause::new(Reason::Dead).since(row.updated_at);
    let Some(letter) = dead_letters::show(db, row.id).await? else {
        return Ok(cause.detail(format!("{reason}: {error}")));
    };
    let text = |field: &str| letter.get(field).and_then(Value::as_str);
    let id = text("id").unwrap_or_default();
    let cause = cause.since(text("died_at").and_then(|at| at.parse::<DateTime<Utc>>().ok()));
    let cause = cause.detail(format!("{reason}, dead letter {id}: {}", text("error").unwrap_or(error)));
    let is_open = text("replayed_at").is_none() && text("discarded_at").is_none();
    Ok(if is_open {
        cause.remedy(format!("mailroom dead show {id}; mailroom dead replay {id}"))
    } else {
        cause
    })
}

/// Tells what it waits for with all that is in its place.
fn of_its_place(known: &Known, row: &Row) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(group) = &row.consumer_group {
        causes.extend(known.of_group(group));
    }
    if let Some(lane) = known.lanes.get(&row.lane) {
        causes.extend(known.without_owner(lane));
        causes.extend(known.postgres(lane));
        if !row.is_of_inbox() {
            causes.extend(known.publishing(lane, &row.topic));
        }
    }
    causes
}

async fn of_its_key(db: &Db, known: &Known, row: &Row) -> Result<Vec<Cause>, Failure> {
    let Some(okey) = row.okey else { return Ok(Vec::new()) };
    if !row.is_of_inbox() {
        // One that waits for its own time lets others pass, and goes when it comes.
        let earlier =
            if row.scheduled_at > known.now { None } else { why::before_in_outbox(db, row).await? };
        return Ok(earlier.iter().map(|earlier| busy(earlier, &of_its_place(known, earlier))).collect());
    }
    let mut causes: Vec<Cause> = blocked(db, row.lane, okey).await?.into_iter().collect();
    let earlier = why::first_of_keys(db, &[(row.lane, okey)], row.seq).await?;
    if let Some(earlier) = earlier.first() {
        let because: Vec<Cause> = of_its_time(known, earlier).into_iter().collect();
        causes.push(busy(earlier, &because));
    }
    Ok(causes)
}

/// The dead letter behind which a key waits.
pub(super) async fn blocked(db: &Db, lane: i32, okey: i64) -> Result<Option<Cause>, Failure> {
    let Some(blocked) = why::blocked(db, lane, okey).await? else { return Ok(None) };
    let cause = Cause::new(Reason::BehindDeadLetter).since(blocked.blocked_at);
    Ok(Some(match (blocked.letter, blocked.message) {
        (Some(letter), Some(message)) => cause
            .detail(format!("message {message}, behind-dead = \"{}\"", blocked.policy))
            .remedy(format!("mailroom dead replay {letter}, or mailroom dead discard {letter}")),
        _ => {
            cause.detail(format!("behind-dead = \"{}\"; its letter was closed a moment ago", blocked.policy))
        }
    }))
}

/// An earlier message of the key, and why that waits, where it is known.
fn busy(earlier: &Row, because: &[Cause]) -> Cause {
    let cause = Cause::new(Reason::KeyBusy).since(earlier.created_at);
    let place = match (earlier.partition, earlier.offset) {
        (Some(partition), Some(offset)) => format!(" ({}/{partition} offset {offset})", earlier.topic),
        _ => String::new(),
    };
    let why = because.first().map_or_else(String::new, |because| format!(", since {}", because.means));
    let until = because.first().and_then(|because| because.until);
    let cause = cause.detail(format!("message {}{place} is before it{why}", earlier.id)).until(until);
    cause.remedy(format!("mailroom why {}", earlier.id))
}

fn of_its_time(known: &Known, row: &Row) -> Option<Cause> {
    if row.scheduled_at <= known.now {
        return None;
    }
    if row.attempts_made == 0 {
        return Some(Cause::new(Reason::Scheduled).since(row.created_at).until(row.scheduled_at));
    }
    let cause = Cause::new(Reason::Backoff).since(row.updated_at).until(row.scheduled_at);
    let error = row.last_error.as_deref().unwrap_or_default();
    Some(cause.detail(format!(
        "{} of {} attempts are made; the last: {error}",
        row.attempts_made, row.max_attempts
    )))
}

/// A message that could go on: it runs, or others come first.
async fn turn(db: &Db, known: &Known, row: &Row) -> Result<Cause, Failure> {
    let lane = known.lanes.get(&row.lane).filter(|lane| lane.alive);
    let worker = lane.and_then(|lane| lane.worker.as_deref()).unwrap_or_default();
    if let Some(lane) = lane.filter(|lane| row.is_of_inbox() && row.seq <= lane.started_to) {
        // When a call began is in the memory of its host alone: not before its row could.
        let since =
            [Some(row.created_at), Some(row.scheduled_at), lane.owned_since].into_iter().flatten().max();
        let cause = Cause::new(Reason::Running).since(since);
        return Ok(cause.detail(format!("{worker} may have begun it, at that moment or later")));
    }
    let before = why::before(db, row).await?;
    let since = row.created_at.max(row.scheduled_at);
    Ok(Cause::new(Reason::Turn)
        .since(since)
        .detail(format!("{before} messages of lane {} of {worker} are before it", row.lane)))
}

/// Gives what a lane waits for, with what its next message waits for.
pub(super) async fn of_lane(
    config: &Config,
    db: &Db,
    known: &Known,
    lane: &LaneRow,
) -> Result<Vec<Cause>, Failure> {
    let mut causes = known.reading(lane);
    causes.extend(transaction(config, known, lane).await);
    if let Some(first) = why::first_of_lane(db, lane.id).await? {
        let next = |cause: Cause| {
            let detail = cause.detail.as_deref().map_or_else(String::new, |detail| format!(": {detail}"));
            let detail = format!("its next message, {}{detail}", first.id);
            Cause { detail: Some(detail), ..cause }
        };
        causes.extend(of_message(db, known, &first).await?.into_iter().map(next));
    } else {
        causes.extend(lane.consumer_group.iter().flat_map(|group| known.of_group(group)));
        causes.extend(known.without_owner(lane));
        causes.extend(known.postgres(lane));
    }
    if causes.is_empty() {
        causes.push(Cause::new(Reason::Nothing));
    }
    Ok(causes)
}

/// A producer's transaction that hides records which would be read next. Where Kafka does not answer, hosts say so.
async fn transaction(config: &Config, known: &Known, lane: &LaneRow) -> Option<Cause> {
    let place = TopicPartition { topic: lane.topic.as_deref()?.into(), partition: lane.partition? };
    let next = known.position(lane)?.next_offset;
    let from = hidden_from(&config.kafka, &place).await.ok()??;
    let brokers = &config.kafka.brokers;
    let topic = &place.topic;
    let detail = format!(
        "nothing from offset {from} of {topic}/{} on is given, and {next} is read next",
        place.partition
    );
    let remedy = format!("kafka-transactions.sh --bootstrap-server {brokers} find-hanging --topic {topic}");
    (next >= from).then(|| Cause::new(Reason::KafkaTransaction).detail(detail).remedy(remedy))
}
