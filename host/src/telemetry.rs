//! What the host writes to standard error: lines by `tracing`, for people or for machines. Standard
//! output belongs to what a command answers.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Log, LogFormat};
use crate::db::NOTICES;

/// A library that warns of what its guests do wrong, as often as they do. They are told themselves, and a filter may
/// name it.
const QUIET: &str = "wasmtime_wasi_http=off";

/// Begins logging, once a process. The config has checked the filter.
pub(crate) fn init(log: &Log) {
    let colours = std::io::stderr().is_terminal();
    // A million of them cost a guest with SQL one statement. Whoever wants them names them in the filter.
    let filter = EnvFilter::new(format!("{QUIET},{NOTICES}=off,{}", log.filter));
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    let begun = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if let Err(error) = begun {
        tracing::warn!(%error, "Logging has begun before and keeps its first form");
    }
}
