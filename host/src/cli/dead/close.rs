//! Replay and discard: what they take, how fast, and what they say meanwhile.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::{Narrow, print};
use crate::cli::Output;
use crate::cli::failure::Failure;
use crate::db::dead_letters::{self, Group, Which};
use crate::db::{Db, DbError};

/// Letters that are closed in one transaction.
const BATCH_ROWS_MAX: u32 = 500;
/// Interval at which long work says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Selection of letters; something has to say which.
#[derive(Debug, Args)]
struct Choice {
    /// Letters, or the messages that died
    #[arg(value_name = "ID")]
    ids: Vec<Uuid>,
    #[command(flatten)]
    narrow: Narrow,
    /// All that are open
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Change nothing: say what would be taken
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Replay {
    #[command(flatten)]
    choice: Choice,
    /// At most this many a second, such as 100/s
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<NonZeroU32>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Discard {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    output: Output,
}

fn rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number.parse().map_err(|_| "must be a number from 1, such as 100/s".to_owned())
}

impl Choice {
    fn which(&self) -> Result<Which, Failure> {
        if self.ids.is_empty() && self.narrow.is_empty() && !self.all {
            let problem = "say which: ids, --handler, --topic, --reason, --code, or --all";
            return Err(Failure::Usage(problem.to_owned()));
        }
        Ok(Which { ids: self.ids.clone(), ..self.narrow.which() })
    }
}

pub(in crate::cli) async fn replay(db: &Db, replay: Replay) -> Result<(), Failure> {
    let work = Work { choice: &replay.choice, done: "replayed", rate: replay.rate, json: replay.output.json };
    work.run(db, async |batch| dead_letters::replay(db, batch).await).await
}

pub(in crate::cli) async fn discard(db: &Db, discard: Discard) -> Result<(), Failure> {
    let work = Work { choice: &discard.choice, done: "discarded", rate: None, json: discard.output.json };
    work.run(db, async |batch| dead_letters::discard(db, batch).await).await
}

/// One run over the chosen letters, whatever is done to them.
struct Work<'w> {
    choice: &'w Choice,
    done: &'static str,
    rate: Option<NonZeroU32>,
    json: bool,
}

impl Work<'_> {
    async fn run(
        &self,
        db: &Db,
        close: impl AsyncFn(&[dead_letters::Open]) -> Result<usize, DbError>,
    ) -> Result<(), Failure> {
        let which = self.choice.which()?;
        let groups = dead_letters::groups(db, &which).await?;
        let total: i64 = groups.iter().map(|group| group.letters).sum();
        if total == 0 && !self.choice.ids.is_empty() {
            return Err(Failure::NotFound("no open dead letter has such an id".to_owned()));
        }
        if self.choice.dry_run {
            return if self.json { print::json(&groups) } else { table(&groups) };
        }
        let (batch_rows, pause) = match self.rate {
            None => (BATCH_ROWS_MAX, Duration::ZERO),
            Some(rate) => {
                let rows = rate.get().min(BATCH_ROWS_MAX);
                (rows, Duration::from_secs_f64(f64::from(rows) / f64::from(rate.get())))
            }
        };
        let (mut taken, mut closed, mut after) = (0, 0, None);
        let mut told = Instant::now();
        loop {
            let batch = dead_letters::open(db, &which, after.as_ref(), i64::from(batch_rows)).await?;
            let Some(last) = batch.last().cloned() else { break };
            if after.is_some() {
                tokio::time::sleep(pause).await;
            }
            closed += close(&batch).await?;
            taken += batch.len();
            if told.elapsed() >= TELL_EVERY {
                eprintln!("{closed} of {total} {}", self.done);
                told = Instant::now();
            }
            after = Some(last);
        }
        self.answer(closed, taken - closed)
    }

    /// Prints how many were closed: a letter that was not has lost its message to retention, or somebody else
    /// was faster.
    fn answer(&self, closed: usize, left: usize) -> Result<(), Failure> {
        if self.json {
            return print::json(&json!({ self.done: closed, "left": left }));
        }
        print::line(&format!("{closed} {}", self.done))?;
        if left > 0 {
            print::line(&format!(
                "{left} left as they are: their messages are no longer there or no longer failed; discard closes them"
            ))?;
        }
        Ok(())
    }
}

fn table(groups: &[Group]) -> Result<(), Failure> {
    let row = |group: &Group| {
        let handler = group.handler.clone().unwrap_or_default();
        let code = group.code.clone().unwrap_or_default();
        let (origin, reason) = (group.origin.clone(), group.reason.clone());
        vec![origin, handler, group.topic.clone(), reason, code, group.letters.to_string()]
    };
    let header = ["FROM", "HANDLER", "TOPIC", "REASON", "CODE", "LETTERS"];
    print::table(&header, groups.iter().map(row).collect(), "No open dead letters match.")
}
