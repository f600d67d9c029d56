//! Settings that are well-formed now and then.

/// A key by its place, the kind of the value, and what it is made of.
pub(super) type Raw = (u8, u8, u64, String);

const UNITS: [&str; 12] = ["ns", "us", "ms", "s", "m", "h", "d", "y", "B", "KiB", "MiB", "EiB"];
const WORDS: [&str; 15] = [
    "never",
    "none",
    "key",
    "reuse",
    "earliest",
    "latest",
    "text",
    "binary",
    "block",
    "park",
    "skip",
    "stop",
    "poll",
    "at-most-once",
    "2026-01-31T00:00:00Z",
];

/// `keys` and values of all kinds, in TOML, and any text behind them.
pub(super) fn toml(keys: &[&str], raw: &[Raw], rest: Option<&String>) -> String {
    let lines: String = raw.iter().take(6).map(|raw| line(keys, raw) + "\n").collect();
    rest.map(|rest| lines.clone() + rest).unwrap_or(lines)
}

/// A key of these and a value of any kind.
fn line(keys: &[&str], (place, kind, number, text): &Raw) -> String {
    let key = keys[usize::from(*place) % keys.len()];
    format!("{key} = {}", value(*kind, *number, text))
}

pub(super) fn value(kind: u8, number: u64, text: &str) -> String {
    let few = number % 100;
    let unit = UNITS[usize::try_from(number >> 8).unwrap_or(0) % UNITS.len()];
    let word = WORDS[usize::try_from(number >> 8).unwrap_or(0) % WORDS.len()];
    match kind % 12 {
        0 => few.to_string(),
        1 => i64::from_ne_bytes(number.to_ne_bytes()).to_string(),
        2 => toml::Value::String(text.to_owned()).to_string(),
        3 => format!("\"{few}{unit}\""),
        4 => format!("\"{number}{unit}\""),
        5 => number.is_multiple_of(2).to_string(),
        6 => format!("[{}]", toml::Value::String(text.to_owned())),
        7 => format!("\"{word}\""),
        8 => f64::from_bits(number).to_string(),
        9 => format!("{{ {word} = {few} }}"),
        10 => format!("[\"a\", \"{word}\", {few}]"),
        _ => text.to_owned(),
    }
}
