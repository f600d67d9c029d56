//! From wasmtime's errors to the ways in which a call can stop.

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::guest::Guest;
use crate::config::CallLimits;
use crate::message::{LAST_ERROR_BYTES_MAX, bounded};
use crate::pipeline::outcome::Fault;

/// Bytes of a backtrace or of a guest's own details that are kept.
pub(super) const DETAIL_BYTES_MAX: usize = 8000;

/// Ends a guest that computes past its deadline.
#[derive(Debug, thiserror::Error)]
#[error("the deadline has passed")]
pub(super) struct DeadlinePassed;

/// Ends a guest whose host call cannot be answered, at no fault of its own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct HostUnavailable(pub(super) String);

/// Why a call did not end by itself.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The guest's doing; counted.
    Faulted(Fault),
    /// Not the guest's doing.
    Unavailable(String),
}

/// The order matters: a refused growth makes an allocator abort, which looks like any other trap, but
/// fuel, stack and deadline name themselves.
pub(super) fn classify(error: &wasmtime::Error, guest: &Guest, limits: &CallLimits) -> Stopped {
    if let Some(HostUnavailable(what)) = error.downcast_ref() {
        return Stopped::Unavailable(what.clone());
    }
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Stopped::Unavailable(full.to_string());
    }
    let trap = error.downcast_ref::<Trap>();
    Stopped::Faulted(if error.is::<DeadlinePassed>() {
        Fault::Deadline { limit: limits.deadline }
    } else if trap == Some(&Trap::OutOfFuel) {
        Fault::OutOfFuel { limit: limits.fuel }
    } else if trap == Some(&Trap::StackOverflow) {
        Fault::Stack { backtrace: backtrace(error) }
    } else if guest.meter.refused() {
        Fault::Memory { limit: limits.memory }
    } else if let Some(I32Exit(code)) = error.downcast_ref() {
        Fault::Trap { reason: format!("it called exit({code})"), backtrace: backtrace(error) }
    } else if let Some(trap) = trap {
        let reason = reason(&trap.to_string(), guest.output.text().as_deref());
        Fault::Trap { reason, backtrace: backtrace(error) }
    } else {
        Fault::BadReply { reason: bounded(&error.root_cause().to_string(), LAST_ERROR_BYTES_MAX) }
    })
}

/// The guest's own frames, with their names where it was built with them.
fn backtrace(error: &wasmtime::Error) -> String {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let text = trace.to_string();
    let frames = text.split_once('\n').map_or(text.as_str(), |(_, frames)| frames);
    let frames: Vec<&str> = frames.lines().map(str::trim).collect();
    bounded(&frames.join("\n"), DETAIL_BYTES_MAX)
}

/// A panic's or exception's words are on stderr only. Rust's are found by their form; of any other
/// language the last line is the likeliest.
fn reason(trap: &str, output: Option<&str>) -> String {
    let output = output.unwrap_or_default();
    let reason = if let Some(at) = output.rfind("panicked at ") {
        let words = output.get(at..).unwrap_or_default();
        words.lines().filter(|line| !line.starts_with("note: ")).collect::<Vec<_>>().join("\n")
    } else {
        match output.lines().map(str::trim).rfind(|line| !line.is_empty()) {
            Some(line) => format!("{trap}; its last output was: {line}"),
            None => trap.to_owned(),
        }
    };
    bounded(&reason, LAST_ERROR_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traps_reason_is_in_the_guests_own_words() {
        let trap = "wasm `unreachable` instruction executed";
        let panic = "hello\n\nthread '<unnamed>' panicked at src/lib.rs:7:9:\nno such order\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(reason(trap, Some(panic)), "panicked at src/lib.rs:7:9:\nno such order");
        let python = "Traceback (most recent call last):\n  File \"app.py\"\nValueError: bad\n\n";
        assert_eq!(reason(trap, Some(python)), format!("{trap}; its last output was: ValueError: bad"));
        assert_eq!(reason(trap, None), trap);
    }
}
