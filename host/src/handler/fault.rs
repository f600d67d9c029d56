//! Classification of wasmtime's errors: the ways in which a call can stop.

use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use super::backtrace::backtrace;
use super::effects::TooManyLines;
use super::guest::{self, Guest};
use super::imports::messaging::HoldsTooMuch;
use crate::config::CallLimits;
use crate::message::{LAST_ERROR_BYTES_MAX, bounded};
use crate::pipeline::outcome::Fault;

/// Ends a guest that computes past its deadline.
#[derive(Debug, thiserror::Error)]
#[error("the deadline has passed")]
pub(super) struct DeadlinePassed;

/// Ends a guest whose host call cannot be answered, at no fault of its own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct HostUnavailable(pub(super) String);

/// Reason why a call did not end by itself.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The guest's doing; counted.
    Faulted(Fault),
    /// The failure is not the guest's doing.
    Unavailable(String),
}

/// Words with which wasmtime says that a host call would cost too much memory; the type of that error is its
/// own.
const HOST_MEMORY: &str = "fuel allocated for hostcalls has been exhausted";
/// Words that allocators say before they give up: Rust's, those of Go and JavaScript, Python's, C++'s, C's.
const OUT_OF_MEMORY: [&str; 5] =
    ["memory allocation of ", "out of memory", "memoryerror", "bad_alloc", "cannot allocate memory"];

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
    let backtrace = backtrace(error);
    Stopped::Faulted(if error.is::<DeadlinePassed>() {
        Fault::Deadline { limit: limits.deadline, backtrace, awaited: guest.effects.awaited() }
    } else if error.is::<TooManyLines>() {
        Fault::LogLines { limit: limits.log_lines, backtrace }
    } else if let Some(held) = error.downcast_ref::<HoldsTooMuch>() {
        Fault::Trap { reason: held.to_string(), backtrace }
    } else if trap == Some(&Trap::OutOfFuel) {
        Fault::OutOfFuel { limit: limits.fuel, backtrace }
    } else if trap == Some(&Trap::StackOverflow) {
        Fault::Stack { backtrace }
    } else if error.root_cause().to_string().contains(HOST_MEMORY) {
        Fault::HostMemory { limit: guest::hostcall_bytes(limits), backtrace }
    } else if lacked_memory(trap, guest) {
        Fault::Memory { limit: limits.memory, backtrace }
    } else if lacked_table(trap, guest) {
        Fault::Table { limit: limits.table_elements, backtrace }
    } else {
        other(error, backtrace, guest, limits)
    })
}

/// A trap with what it says, or else a reply that is none.
fn other(error: &wasmtime::Error, backtrace: String, guest: &Guest, limits: &CallLimits) -> Fault {
    let fault = if let Some(I32Exit(code)) = error.downcast_ref() {
        // Go's runtime ends so where it gives up.
        Fault::Trap { reason: reason(&format!("it called exit({code})"), &guest.output.since(0)), backtrace }
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        Fault::Trap { reason: reason(&trap.to_string(), &guest.output.since(0)), backtrace }
    } else {
        Fault::BadReply { reason: bounded(&error.root_cause().to_string(), LAST_ERROR_BYTES_MAX) }
    };
    match guest.meter.memory_refused() {
        Some(_) => fault.after(&format!("it memory, limits.memory = {}", limits.memory)),
        None => fault,
    }
}

/// Tells whether it could not go on without the memory that it was refused: its last words are an
/// allocator's, or it gave up without a word. One that went without and fails later has other words.
fn lacked_memory(trap: Option<&Trap>, guest: &Guest) -> bool {
    let Some(refusal) = guest.meter.memory_refused() else { return false };
    let output = guest.output.since(refusal.written);
    let gave_up = matches!(trap, None | Some(Trap::UnreachableCodeReached | Trap::MemoryOutOfBounds));
    match last_words(&output) {
        Some(words) => {
            let words = words.to_lowercase();
            OUT_OF_MEMORY.iter().any(|said| words.contains(said))
        }
        None => refusal.stands && gave_up,
    }
}

/// The same of a table, for which there are no words.
fn lacked_table(trap: Option<&Trap>, guest: &Guest) -> bool {
    let Some(refusal) = guest.meter.table_refused().filter(|refusal| refusal.stands) else { return false };
    let silent = last_words(&guest.output.since(refusal.written)).is_none();
    match trap {
        Some(Trap::TableOutOfBounds | Trap::IndirectCallToNull) => true,
        None | Some(Trap::UnreachableCodeReached) => silent,
        Some(_) => false,
    }
}

/// A panic's or exception's words are on stderr only.
fn reason(trap: &str, output: &str) -> String {
    let reason = match last_words(output) {
        Some(words) if words.contains(EXCEPTION.0) => exception(words).unwrap_or_else(|| words.to_owned()),
        Some(words) if words.starts_with(PANICKED) => {
            words.lines().filter(|line| !line.starts_with(NOTE)).collect::<Vec<_>>().join("\n")
        }
        Some(line) => format!("{trap}; its last output was: {line}"),
        None => trap.to_owned(),
    };
    bounded(&reason, LAST_ERROR_BYTES_MAX)
}

/// Texts around the words of an exception in the panic that the runtime of QuickJS makes of it, and between
/// these and the stack.
const EXCEPTION: (&str, &str, &str) = ("Exception { message: Some(\"", "\"), stack: Some(\"", "\") })");

/// An uncaught exception of JavaScript as its author would see it.
fn exception(panic: &str) -> Option<String> {
    let (_, told) = panic.split_once(EXCEPTION.0)?;
    let (words, rest) = told.split_once(EXCEPTION.1)?;
    let (stack, _) = rest.split_once(EXCEPTION.2)?;
    // Rust quotes them as its own text.
    let plain = |quoted: &str| quoted.replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\");
    Some(format!("{}\n{}", plain(words), plain(stack).trim_end()))
}

/// Words with which a panic of Rust begins, and those that Rust says beside its last words.
const PANICKED: &str = "panicked at ";
const NOTE: &str = "note: ";

/// Words with which Go's runtime begins its last ones, and the stacks that it prints behind them.
const GO: ([&str; 2], &str) = (["fatal error: ", "panic: "], "\ngoroutine ");

/// The words of Rust's last panic and of Go's runtime are found by their form; of any other language the last line is the
/// likeliest.
fn last_words(output: &str) -> Option<&str> {
    if let Some(at) = output.rfind(PANICKED) {
        return output.get(at..);
    }
    words_of_go(output)
        .or_else(|| output.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with(NOTE)))
}

fn words_of_go(output: &str) -> Option<&str> {
    let (begins, stack) = GO;
    let (before, _) = output.rsplit_once(stack)?;
    before.lines().map(str::trim).rfind(|line| begins.iter().any(|begin| line.starts_with(begin)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::config::{Config, HandlerName, Manifest, Servers};
    use crate::handler::effects::Effects;

    #[test]
    fn a_traps_reason_is_in_the_guests_own_words() {
        let trap = "wasm `unreachable` instruction executed";
        let panic = "hello\n\nthread '<unnamed>' panicked at src/lib.rs:7:9:\nno such order\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(reason(trap, panic), "panicked at src/lib.rs:7:9:\nno such order");
        let python = "Traceback (most recent call last):\n  File \"app.py\"\nValueError: bad\n\n";
        assert_eq!(reason(trap, python), format!("{trap}; its last output was: ValueError: bad"));
        assert_eq!(reason(trap, ""), trap);
        let quickjs = "thread '<unnamed>' panicked at crates/runtime/src/interpreter.rs:51:31:\nFailed to call 'subscriptions': Exception(Exception { message: Some(\"no \\\"topic\\\"\"), stack: Some(\"    at load (a.js:1:2)\\n\") })\nnote: run\n";
        assert_eq!(reason(trap, quickjs), "no \"topic\"\n    at load (a.js:1:2)");
        let go = "hello\nfatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [chan receive]:\nmain.handle()\n\tmain.go:9\n\ngoroutine 3 [sleep]:\nmain.f()\n\tmain.go:4 +0x3\n";
        let words = "fatal error: all goroutines are asleep - deadlock!";
        assert_eq!(reason(trap, go), format!("{trap}; its last output was: {words}"));
        let again = "panic: one [recovered]\n\tpanic: two\n\ngoroutine 4 [running]:\nmain.g()\n";
        assert_eq!(reason(trap, again), format!("{trap}; its last output was: panic: two"));
    }

    /// `f` grows its table by a hundred elements, and gives up where it may not.
    const GROWS_A_TABLE: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x04\x04\x01\x70\0\x01\
        \x07\x05\x01\x01f\0\0\x0a\x13\x01\x11\0\xd0\x70\x41\xe4\0\xfc\x0f\0\x41\x7f\x46\x04\x40\0\x0b\x0b";

    /// A store for a guest with this manifest.
    fn store(engine: &wasmtime::Engine, manifest: &str) -> (wasmtime::Store<Guest>, CallLimits) {
        let config = Config::load_with(None, std::iter::empty(), Servers::Unneeded).unwrap().0;
        let manifest = Arc::new(Manifest::parse(manifest, &config).unwrap());
        let effects = Effects::denied(Arc::clone(&manifest), Instant::now());
        let name = HandlerName::parse("f").unwrap();
        (guest::store(engine, &name, None, &manifest.limits, effects), manifest.limits.clone())
    }

    #[test]
    fn an_exit_is_told_with_the_last_output() {
        let (store, limits) = store(&wasmtime::Engine::default(), "");
        let exited = || {
            let stopped = classify(&I32Exit(1).into(), store.data(), &limits);
            let Stopped::Faulted(Fault::Trap { reason, .. }) = &stopped else { panic!("{stopped:?}") };
            reason.clone()
        };
        assert_eq!(exited(), "it called exit(1)");
        store.data().output.keep_line("fatal error: concurrent map writes\n\ngoroutine 6 [running]:\n");
        assert_eq!(exited(), "it called exit(1); its last output was: fatal error: concurrent map writes");
    }

    #[test]
    fn a_table_beyond_its_limit_has_a_fault_of_its_own() {
        let grown = |limit: u64| {
            let engine = wasmtime::Engine::default();
            let (mut store, limits) = store(&engine, &format!("[limits]\ntable-elements = {limit}"));
            let module = wasmtime::Module::from_binary(&engine, GROWS_A_TABLE).unwrap();
            let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
            let grow = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
            let error = grow.call(&mut store, ()).err()?;
            Some(classify(&error, store.data(), &limits))
        };
        let Some(Stopped::Faulted(Fault::Table { limit: 100, backtrace })) = grown(100) else {
            panic!("not a table fault")
        };
        assert!(!backtrace.is_empty());
        assert!(grown(101).is_none(), "as many as it may have");
    }
}
