//! `wasi:logging/logging`: lines for the host's log and for the call's last output.

use crate::config::LogLevel;
use crate::handler::bindings::logging::wasi::logging::logging::{self, Level};
use crate::handler::guest::Guest;

impl logging::Host for Guest {
    async fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        if let Some(line) = self.effects.log(to_host(level), &context, &message)? {
            self.output.keep_line(&line.shown());
            self.effects.tell(&self.name, &line);
        }
        Ok(())
    }
}

fn to_host(level: Level) -> LogLevel {
    match level {
        Level::Trace => LogLevel::Trace,
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error | Level::Critical => LogLevel::Error,
    }
}
