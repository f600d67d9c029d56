//! Replay and discard: what they take, how fast, and what they say meanwhile.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::{Narrow, print};
use crate::cli::Output;
use crate::cli::failure::Failure;
use crate::db::Db;
use crate::db::audit::Operator;
use crate::db::dead_letters::{self, Closing, Group, Which};

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
    /// Reason, for whoever reads `audit list`
    #[arg(long = "because", value_name = "TEXT")]
    because: Option<String>,
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
            let problem = "say which: ids, --handler, --topic, --reason, --fault, --code, or --all";
            return Err(Failure::Usage(problem.to_owned()));
        }
        Ok(Which { ids: self.ids.clone(), ..self.narrow.which() })
    }
}

pub(in crate::cli) async fn replay(db: &Db, worker: &str, replay: Replay) -> Result<(), Failure> {
    let work = Work {
        choice: &replay.choice,
        closing: Closing::Replay,
        rate: replay.rate,
        json: replay.output.json,
    };
    work.run(db, worker).await
}

pub(in crate::cli) async fn discard(db: &Db, worker: &str, discard: Discard) -> Result<(), Failure> {
    let work =
        Work { choice: &discard.choice, closing: Closing::Discard, rate: None, json: discard.output.json };
    work.run(db, worker).await
}

/// One run over the chosen letters, whatever is done to them.
struct Work<'w> {
    choice: &'w Choice,
    closing: Closing,
    rate: Option<NonZeroU32>,
    json: bool,
}

impl Work<'_> {
    async fn run(&self, db: &Db, worker: &str) -> Result<(), Failure> {
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
        let by = Operator::at_command_line(worker, self.choice.because.as_deref());
        let (mut taken, mut closed, mut after) = (0, 0, None);
        let mut told = Instant::now();
        loop {
            let next = dead_letters::close_next(
                db,
                &which,
                after.as_ref(),
                i64::from(batch_rows),
                (self.closing, &by),
            );
            let Some(batch) = next.await? else { break };
            closed += batch.closed;
            taken += batch.taken;
            if told.elapsed() >= TELL_EVERY {
                eprintln!("{closed} of {total} {}", self.closing.done());
                told = Instant::now();
            }
            after = Some(batch.last);
            if i64::try_from(taken).unwrap_or(i64::MAX) < total {
                tokio::time::sleep(pause).await;
            }
        }
        self.answer(closed, taken - closed)
    }

    /// Prints how many were closed: a letter that was not has lost its message to retention, or somebody else
    /// was faster.
    fn answer(&self, closed: usize, left: usize) -> Result<(), Failure> {
        if self.json {
            return print::json(&json!({ self.closing.done(): closed, "left": left }));
        }
        print::line(&format!("{closed} {}", self.closing.done()))?;
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
        let (fault, code) = (group.fault.clone().unwrap_or_default(), group.code.clone().unwrap_or_default());
        vec![
            group.origin.clone(),
            handler,
            group.topic.clone(),
            group.reason.clone(),
            fault,
            code,
            group.letters.to_string(),
            print::moment(group.first_died_at),
            print::moment(group.last_died_at),
        ]
    };
    let header =
        ["FROM", "HANDLER", "TOPIC", "REASON", "FAULT", "CODE", "LETTERS", "FIRST DIED", "LAST DIED"];
    print::table(&header, groups.iter().map(row).collect(), "No open dead letters match.")
}
