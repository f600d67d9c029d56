//! `mailroom why`: what a message, a key or a lane waits for, by the rows of Postgres and what hosts report there.

mod known;
mod reason;
mod subject;

use clap::{Args, ValueEnum};
use serde::Serialize;
use uuid::Uuid;

use super::failure::Failure;
use super::{Output, print};
use crate::config::Config;
use crate::db::Db;
use crate::db::status::LaneRow;
use crate::db::why::{self as rows, Row};
use crate::inbox::browse as inbox;
use crate::message::{one_line, order_key};
use crate::outbox::browse as outbox;
use crate::shown;
use known::Known;
use reason::Cause;
use subject::Subject;

#[derive(Debug, Args)]
pub(super) struct Why {
    /// A message's id, a key, or a lane by its number or as TOPIC/PARTITION
    #[arg(value_name = "MESSAGE|KEY|LANE")]
    what: String,
    /// Take it for this alone
    #[arg(long = "as", value_name = "KIND")]
    kind: Option<Kind>,
    /// Only of this consumer group
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Message,
    Key,
    Lane,
}

/// A subject with its reasons to wait.
#[derive(Debug, Serialize)]
struct Answer {
    subject: Subject,
    reasons: Vec<Cause>,
}

/// A question with what is known.
struct Question<'q> {
    why: &'q Why,
    config: &'q Config,
    db: &'q Db,
    known: Known,
}

pub(super) async fn why(why: &Why, config: &Config, db: &Db) -> Result<(), Failure> {
    let question = Question { why, config, db, known: Known::read(db).await? };
    let answers = question.answers().await?;
    if answers.is_empty() {
        return Err(Failure::NotFound(format!(
            "no message has the id {0}, no message of a key {0} waits, and no lane is {0}; what is still in Kafka alone has \
             its partition's lane: TOPIC/PARTITION",
            why.what
        )));
    }
    if why.output.json { print::json(&answers) } else { show(&answers) }
}

fn show(answers: &[Answer]) -> Result<(), Failure> {
    for Answer { subject, reasons } in answers {
        print::line(&one_line(&subject.words()))?;
        for cause in reasons {
            print::line(&format!("  {}: {}", cause.reason.word(), cause.means))?;
            let moments = [("since", cause.since), ("until", cause.until)];
            let moments = moments.into_iter().filter_map(|(name, at)| Some((name, print::moment(at?))));
            let texts = [("detail", &cause.detail), ("remedy", &cause.remedy)];
            let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?)));
            for (name, text) in moments.chain(texts) {
                print::line(&format!("    {name:6}  {}", one_line(&text)))?;
            }
        }
    }
    Ok(())
}

impl Question<'_> {
    async fn answers(&self) -> Result<Vec<Answer>, Failure> {
        let mut answers = Vec::new();
        let takes = |kind| self.why.kind.is_none_or(|wanted| wanted == kind);
        if takes(Kind::Message) {
            for row in self.messages().await? {
                let reasons = subject::of_message(self.db, &self.known, &row).await?;
                answers.push(Answer { subject: Subject::of_row("message", &row), reasons });
            }
            // An id is hardly a key as well.
            if !answers.is_empty() {
                return Ok(answers);
            }
        }
        if takes(Kind::Lane) {
            for lane in self.known.lanes.values().filter(|lane| self.is_meant(lane)) {
                let reasons = subject::of_lane(self.config, self.db, &self.known, lane).await?;
                answers.push(Answer { subject: Subject::of_lane(lane), reasons });
            }
        }
        if takes(Kind::Key) {
            answers.extend(self.keys().await?);
        }
        Ok(answers)
    }

    fn is_of_group(&self, group: Option<&str>) -> bool {
        self.why.group.is_none() || self.why.group.as_deref() == group
    }

    /// Messages with this id.
    async fn messages(&self) -> Result<Vec<Row>, Failure> {
        let mut found = Vec::new();
        for shown in inbox::show(self.db, &self.why.what).await? {
            found.push((shown.fields, shown.key));
        }
        if found.is_empty()
            && let Ok(id) = self.why.what.parse::<Uuid>()
        {
            found.extend(outbox::show(self.db, id).await?.map(|shown| (shown.fields, shown.key)));
        }
        let unread = |error: serde_json::Error| Failure::Host(format!("a row cannot be read: {error}"));
        let rows = found.into_iter().map(|(fields, key)| Row::read(fields, key).map_err(unread));
        let rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
        Ok(rows.into_iter().filter(|row| self.is_of_group(row.consumer_group.as_deref())).collect())
    }

    fn is_meant(&self, lane: &LaneRow) -> bool {
        if !self.is_of_group(lane.consumer_group.as_deref()) {
            return false;
        }
        let of_partition = || {
            let (topic, partition) = self.why.what.rsplit_once('/')?;
            Some(lane.topic.as_deref() == Some(topic) && lane.partition == Some(partition.parse().ok()?))
        };
        self.why.what.parse() == Ok(lane.id) || of_partition().unwrap_or(false)
    }

    /// The next message of each key of that name, and keys of which nothing waits but that are blocked.
    async fn keys(&self) -> Result<Vec<Answer>, Failure> {
        let key = self.why.what.as_bytes();
        let mut answers = Vec::new();
        let mut hashes = Vec::new();
        for lane in self.known.lanes.values().filter(|lane| self.is_of_group(lane.consumer_group.as_deref()))
        {
            if let (Some(topic), Some(partition)) = (&lane.topic, lane.partition) {
                hashes.extend(order_key(topic, partition, Some(key)).map(|hash| (lane, hash)));
            }
        }
        let places: Vec<(i32, i64)> = hashes.iter().map(|(lane, hash)| (lane.id, *hash)).collect();
        let mut first = rows::first_of_keys(self.db, &places, i64::MAX).await?;
        // Two keys may have one hash.
        first.retain(|row| row.key.as_deref() == Some(key));
        let with_rows: Vec<i32> = first.iter().map(|row| row.lane).collect();
        if self.is_of_group(None) {
            first.extend(rows::first_in_outbox(self.db, key).await?);
        }
        for row in &first {
            let reasons = subject::of_message(self.db, &self.known, row).await?;
            answers.push(Answer { subject: Subject::of_row("key", row), reasons });
        }
        for (lane, hash) in hashes.iter().filter(|(lane, _)| !with_rows.contains(&lane.id)) {
            if let Some(cause) = subject::blocked(self.db, lane.id, *hash).await? {
                let subject =
                    Subject { kind: "key", key: shown::bytes_as_json(Some(key)), ..Subject::of_lane(lane) };
                answers.push(Answer { subject, reasons: vec![cause] });
            }
        }
        Ok(answers)
    }
}
