//! Tables and other parts that several pages have.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::message::{one_line, shown_lines};
use crate::wording;

/// A table that scrolls by itself where the screen is small; `none` where it has no rows.
pub(super) fn table(caption: &str, header: &[&str], rows: &[Markup], none: &str) -> Markup {
    if rows.is_empty() {
        return html! { p class="quiet" { (none) } };
    }
    html! {
        div class="scroll" role="region" aria-label=(caption) tabindex="0" {
            table {
                caption { (caption) }
                thead { tr { @for name in header { th scope="col" { (name) } } } }
                tbody { @for row in rows { (row) } }
            }
        }
    }
}

/// A moment that machines read too.
pub(super) fn moment(moment: DateTime<Utc>) -> Markup {
    let text = wording::moment(moment);
    html! { time datetime=(text) { (text.replace('T', " ").replace('Z', " UTC")) } }
}

/// Somebody's words in one line, with nothing that reorders or hides what is read.
pub(super) fn words(text: &str) -> Markup {
    html! { (one_line(text)) }
}

/// Somebody's words over several lines.
pub(super) fn lines(text: &str) -> Markup {
    html! { pre tabindex="0" { (shown_lines(text)) } }
}

/// A path with parameters.
pub(super) fn link(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let query: Vec<String> = given
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
        .collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// One segment of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The state of a handler or message as a word that stands out where it is bad.
pub(super) fn state(word: &str, is_bad: bool) -> Markup {
    html! { span class=(if is_bad { "state bad" } else { "state" }) { (word) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_links_of_strangers_are_text() {
        let hostile = "<script>alert(1)</script>\" onclick=\"x\u{202e}";
        let shown = words(hostile).into_string();
        assert!(!shown.contains('<') && !shown.contains('\u{202e}'), "{shown}");
        assert!(!lines(hostile).into_string().contains("<script"));
        assert_eq!(link("/a", &[("code", Some("a&b=\"")), ("fault", None)]), "/a?code=a%26b%3D%22");
        assert_eq!(link("/a", &[]), "/a");
    }
}
