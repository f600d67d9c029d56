//! Text that is cut to fit, on a character's boundary, and that Postgres can hold.

/// Bytes of an error's text that a row keeps.
pub const LAST_ERROR_BYTES_MAX: usize = 2000;

const CUT: &str = "... [TRUNCATED]";
const CUT_AHEAD: &str = "[TRUNCATED] ...";

/// `text` in at most `bytes_max` bytes of UTF-8, with a mark where it was cut. U+0000, which Postgres
/// refuses, becomes U+FFFD; blank text says so, because a failure without words is still a failure.
#[must_use]
pub fn bounded(text: &str, bytes_max: usize) -> String {
    let text = text.trim().replace('\0', "\u{fffd}");
    if text.is_empty() {
        return "(no text)".to_owned();
    }
    if text.len() <= bytes_max {
        return text;
    }
    let (room, mark) = if CUT.len() < bytes_max { (bytes_max - CUT.len(), CUT) } else { (bytes_max, "") };
    let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let kept = text.get(..end).unwrap_or_default();
    format!("{kept}{mark}")
}

/// The end of a text in at most `bytes_max` bytes, else like [`bounded`]: of what was printed, the last words
/// say most.
#[must_use]
pub fn tail(text: &str, bytes_max: usize) -> String {
    let text = text.trim().replace('\0', "\u{fffd}");
    if text.len() <= bytes_max {
        return bounded(&text, bytes_max);
    }
    let (room, mark) =
        if CUT_AHEAD.len() < bytes_max { (bytes_max - CUT_AHEAD.len(), CUT_AHEAD) } else { (bytes_max, "") };
    let from = (text.len() - room..text.len()).find(|from| text.is_char_boundary(*from));
    format!("{mark}{}", text.get(from.unwrap_or(text.len())..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_on_a_character_and_marked() {
        assert_eq!(bounded("  short ", 2000), "short");
        assert_eq!(bounded(" \n ", 2000), "(no text)");
        assert_eq!(bounded("a\0b", 2000), "a\u{fffd}b");
        let cut = bounded(&"é".repeat(2000), 2000);
        assert!(cut.len() <= 2000 && cut.ends_with(CUT));
        assert_eq!(bounded("ééé", 3), "é");
        let crooked = bounded(&format!("x{}", "é".repeat(2000)), 2000);
        assert!(crooked.len() <= 2000 && crooked.ends_with(CUT));
    }

    #[test]
    fn of_a_long_output_the_last_words_are_kept() {
        assert_eq!(tail(" short\0 ", 2000), "short\u{fffd}");
        assert_eq!(tail("", 2000), "(no text)");
        let cut = tail(&format!("{}y the end", "é".repeat(2000)), 2000);
        assert!(cut.len() <= 2000 && cut.starts_with(CUT_AHEAD) && cut.ends_with("y the end"), "{cut}");
        assert_eq!(tail("ééé", 3), "é");
    }
}
