//! Errors, moments and lengths of time as people read them.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

/// Characters of an error that a list shows.
const SHORT_CHARACTERS_MAX: usize = 60;

/// The beginning of a text, in one line.
pub(crate) fn short(text: Option<&str>) -> String {
    let words: Vec<&str> = text.unwrap_or_default().split_whitespace().collect();
    let joined = words.join(" ");
    let mut cut: String = joined.chars().take(SHORT_CHARACTERS_MAX).collect();
    if cut.len() < joined.len() {
        cut.push('…');
    }
    cut
}

/// A moment, to the second.
pub(crate) fn moment(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A length of time, to the second; what lies in the future is nothing.
pub(crate) fn length(secs: f64) -> String {
    let whole = Duration::try_from_secs_f64(secs.max(0.0)).unwrap_or_default().as_secs();
    humantime::format_duration(Duration::from_secs(whole)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_errors_are_cut_to_one_line() {
        assert_eq!(short(None), "");
        assert_eq!(short(Some("a\n  b")), "a b");
        assert_eq!(short(Some(&"ü".repeat(61))), format!("{}…", "ü".repeat(60)));
    }
}
