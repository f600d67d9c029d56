//! Lines of the host's log, by `wasi:logging/logging`, up to the level that the manifest grants with `grants.log`.
//!
//! A line is written at once, and again where its message is handled again. What is not granted is dropped without
//! an error. A call that logs more lines than `limits.log-lines` ends there, as a fault.
//!
//! ```no_run
//! use mailroom_guest::log;
//!
//! # let order = "o-1";
//! log::info(format_args!("order {order} is on its way"));
//! ```

use std::fmt::Display;

pub use crate::bindings::logging::wasi::logging::logging::Level;
use crate::host;

/// A line with a context, any word by which lines belong together.
pub fn line(level: Level, context: &str, text: impl Display) {
    host::log(level, context, &text.to_string());
}

/// Something that a person has to look at now.
pub fn critical(text: impl Display) {
    line(Level::Critical, "", text);
}

/// Writes a line at level `error`, for what went wrong.
pub fn error(text: impl Display) {
    line(Level::Error, "", text);
}

/// Writes a line at level `warn`, for what may go wrong.
pub fn warn(text: impl Display) {
    line(Level::Warn, "", text);
}

/// Writes a line at level `info`, for what was done.
pub fn info(text: impl Display) {
    line(Level::Info, "", text);
}

/// Writes a line at level `debug`, for how it was done.
pub fn debug(text: impl Display) {
    line(Level::Debug, "", text);
}

/// Each step.
pub fn trace(text: impl Display) {
    line(Level::Trace, "", text);
}
