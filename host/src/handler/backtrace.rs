//! Backtraces: what a trap says of where it happened. The names are the guest's own, so that both reading and
//! writing them is bounded: line numbers are not looked up, and of names only Rust's are demangled.

use std::fmt::{self, Write};

use wasmtime::{FrameInfo, WasmBacktrace};

/// Bytes of a backtrace or of a guest's own details that are kept.
pub(super) const DETAIL_BYTES_MAX: usize = 8000;
/// A longer name is not demangled. Compilers' names are mostly shorter.
const MANGLED_BYTES_MAX: usize = 512;
/// Bytes of one name that are kept.
const NAME_BYTES_MAX: usize = 512;

/// The guest's own frames, with their names where it was built with them.
pub(super) fn backtrace(error: &wasmtime::Error) -> String {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let mut text = Bounded::new(DETAIL_BYTES_MAX);
    for (number, frame) in trace.frames().iter().enumerate() {
        // Nothing more has room.
        if write_frame(&mut text, number, frame).is_err() {
            break;
        }
    }
    text.kept
}

fn write_frame(text: &mut Bounded, number: usize, frame: &FrameInfo) -> fmt::Result {
    if number > 0 {
        text.write_char('\n')?;
    }
    write!(text, "{number}: ")?;
    if let Some(offset) = frame.module_offset() {
        write!(text, "{offset:#x} - ")?;
    }
    let module = cut(frame.module().name().unwrap_or("<unknown>"), NAME_BYTES_MAX);
    match frame.func_name() {
        Some(name) => write!(text, "{module}!{}", readable(name)),
        None => write!(text, "{module}!<wasm function {}>", frame.func_index()),
    }
}

/// A Rust name demangled; any other, C++ ones too, as it is.
///
/// A mangled name refers back into itself, so that few bytes can stand for gigabytes: the demangler ends where the room
/// for its answer does.
fn readable(name: &str) -> String {
    let mut text = Bounded::new(NAME_BYTES_MAX);
    let demangled =
        if name.len() <= MANGLED_BYTES_MAX { rustc_demangle::try_demangle(name).ok() } else { None };
    match demangled {
        Some(demangled) if write!(text, "{demangled:#}").is_ok() => text.kept,
        // It has no room; what of it was written is of more use than the mangled name.
        Some(_) => text.kept + "…",
        None => cut(name, NAME_BYTES_MAX).to_owned(),
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

/// Text that refuses what it has no room for.
struct Bounded {
    kept: String,
    bytes_max: usize,
}

impl Bounded {
    fn new(bytes_max: usize) -> Self {
        Self { kept: String::new(), bytes_max }
    }
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = self.bytes_max - self.kept.len();
        let fits = cut(more, room);
        self.kept.push_str(fits);
        if fits.len() == more.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn names_of_rust_are_readable_and_others_are_as_they_are() {
        let legacy = "_ZN8scripted8mischief4spin17h0123456789abcdefE";
        assert_eq!(readable(legacy), "scripted::mischief::spin");
        assert_eq!(readable("_RNvC8scripted4spin"), "scripted::spin");
        for name in ["handle", "_ZN3foo3barEv.", "_Z1f1AIiE", "", "über\u{1b}[2J"] {
            assert_eq!(readable(name), name);
        }
    }

    /// A tuple of eight copies of the tuple before it, twelve deep.
    fn explosive() -> String {
        let mut name = "_RINvC1a1b".to_owned();
        let mut last = "TllllllllE".to_owned();
        for _ in 0..12 {
            let at = name.len() - "_R".len();
            name.push_str(&last);
            last = format!("T{}E", format!("B{}_", base_62(at - 1)).repeat(8));
        }
        name + &last + "E"
    }

    fn base_62(number: usize) -> String {
        let digits: Vec<char> = ('0'..='9').chain('a'..='z').chain('A'..='Z').collect();
        let digit = |value: usize| digits[value % 62].to_string();
        if number < 62 { digit(number) } else { digit(number / 62) + &digit(number) }
    }

    #[test]
    fn a_name_that_stands_for_gigabytes_costs_no_more_than_its_room() {
        let began = Instant::now();
        let shown = readable(&explosive());
        assert!(shown.starts_with("a::b::<(i32, i32,") && shown.ends_with('…'), "{shown}");
        let names = [
            explosive(),
            "_RNvC".to_owned() + &"9".repeat(100_000),
            "_ZN".to_owned() + &"1a".repeat(40_000) + "E",
            "ü".repeat(50_000),
        ];
        for name in names {
            assert!(readable(&name).len() <= NAME_BYTES_MAX + "…".len());
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
