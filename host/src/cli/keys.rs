//! `mailroom keys`: keys that do not go on.

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::{Output, print};
use crate::db::Db;
use crate::db::dead_letters::{self, BlockedKey};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List keys that wait, or are parked, behind a dead letter
    Blocked(Blocked),
}

#[derive(Debug, Args)]
pub(super) struct Blocked {
    /// Show at most this many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn keys(verb: Verb, db: &Db) -> Result<(), Failure> {
    let Verb::Blocked(blocked) = verb;
    let keys = dead_letters::blocked_keys(db, blocked.limit.into()).await?;
    if blocked.output.json {
        return print::json(&keys);
    }
    let row = |key: &BlockedKey| {
        vec![
            key.consumer_group.clone(),
            format!("{}/{}", key.topic, key.partition),
            key.key.clone().unwrap_or_default(),
            key.policy.clone(),
            print::moment(key.blocked_at),
            key.letter.map(|letter| letter.to_string()).unwrap_or_default(),
        ]
    };
    let header = ["GROUP", "PARTITION", "KEY", "POLICY", "SINCE", "DEAD LETTER"];
    print::table(&header, keys.iter().map(row).collect(), "No key is blocked.")
}
