//! Text that is cut to fit, on a character's boundary, that Postgres can hold, and that a terminal only shows.

use std::borrow::Cow;
use std::fmt::Write as _;

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

/// `text` in one line that only shows: what a terminal would obey, what would begin another line and what would reorder
/// what is read is written as an escape.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_harmful, write_escape)
}

/// Shows a text of several lines likewise; ends of lines and tabs stay.
#[must_use]
pub fn shown_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| !matches!(character, '\n' | '\t') && is_harmful(character), write_escape)
}

/// JSON with the same characters as JSON's own escapes; in JSON they only stand inside of texts.
#[must_use]
pub fn shown_json(json: &str) -> Cow<'_, str> {
    escaped(
        json,
        |character| character != '\n' && is_harmful(character),
        |character, shown| {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a text cannot fail.
                write!(shown, "\\u{unit:04x}").unwrap_or_default();
            }
        },
    )
}

fn write_escape(character: char, shown: &mut String) {
    shown.extend(character.escape_default());
}

fn escaped(
    text: &str,
    is_harmful: impl Fn(char) -> bool,
    write_escape: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    if !text.contains(&is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_harmful(character) {
            write_escape(character, &mut shown);
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

fn is_harmful(character: char) -> bool {
    character.is_control() || is_invisible(character)
}

/// Marks of direction, separators of lines, and tags: they change what is read, and are not seen.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{061c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
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
    fn what_a_terminal_would_obey_is_shown_and_text_in_any_script_stays() {
        let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\rfake\nline\t\u{9b}31m\u{7f}\u{202e}\u{2028}";
        let shown = r"\u{1b}]0;owned\u{7}\u{1b}[2J\rfake\nline\t\u{9b}31m\u{7f}\u{202e}\u{2028}";
        assert_eq!(one_line(hostile), shown);
        assert_eq!(shown_lines("a\n\tb\u{1b}[m"), "a\n\tb\\u{1b}[m");
        for text in ["", "Zürich", "שלום", "日本語", r"C:\n", "👩\u{200d}🚀"] {
            assert_eq!(one_line(text), text);
        }
    }

    #[test]
    fn json_stays_the_same_value_without_what_a_terminal_would_obey() {
        let json = "{\n  \"a\u{9b}2J\u{7f}\": \"\u{202e}\u{e0001}ü\"\n}";
        assert_eq!(shown_json(json), "{\n  \"a\\u009b2J\\u007f\": \"\\u202e\\udb40\\udc01ü\"\n}");
        assert!(matches!(shown_json("[1]"), Cow::Borrowed("[1]")));
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
