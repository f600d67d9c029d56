//! The options with which lists are narrowed.

use std::time::Duration;

use clap::{Args, ValueEnum};

/// Status of a message.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Status {
    /// Not done yet
    Pending,
    /// Handled or skipped; published
    Completed,
    /// Dead
    Failed,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// Filters that inbox and outbox have in common.
#[derive(Debug, Args)]
pub(super) struct Select {
    /// Only of this Kafka topic
    #[arg(long)]
    pub(super) topic: Option<String>,
    /// Only of this key, as text
    #[arg(long)]
    pub(super) key: Option<String>,
    /// Only with this status
    #[arg(long)]
    pub(super) status: Option<Status>,
    /// Only what was stored this long ago at most
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    pub(super) since: Duration,
    /// At most this many, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    pub(super) limit: i64,
}
