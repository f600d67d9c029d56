//! Pages of Markdown: their links, and the anchors that the repository's page and the book give their headings.

use std::collections::{BTreeMap, BTreeSet};

/// A link to something in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Number of the line, from 1.
    pub(crate) line: usize,
    /// Target as it is written.
    pub(crate) target: String,
}

impl Link {
    /// Gives the path from the root to which it leads from `page`, with its anchor, which may be empty. `None` where it
    /// leads out of the repository.
    pub(crate) fn place(&self, page: &str) -> Option<(String, &str)> {
        let (path, anchor) = self.target.split_once('#').unwrap_or((self.target.as_str(), ""));
        let place = if path.is_empty() { page.to_owned() } else { beside(page, path)? };
        Some((place, anchor))
    }
}

/// Gives the links of a page that name no other site.
pub(crate) fn links(text: &str) -> Vec<Link> {
    let prose = without_code(text);
    let inline = prose.match_indices("](").filter_map(|(at, sign)| {
        let rest = prose.get(at + sign.len()..)?;
        let target = rest.get(..rest.find([')', ' ', '\n'])?)?;
        let line = prose.get(..at)?.matches('\n').count() + 1;
        Some(Link { line, target: target.to_owned() })
    });
    inline.filter(|link| !link.target.contains("://") && !link.target.starts_with("mailto:")).collect()
}

/// Gives the folders that a file is in.
pub(crate) fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

/// Gives the anchors of a page's headings; those of headings that repeat are numbered.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let prose = without_fences(text);
    let mut repeated: BTreeMap<String, usize> = BTreeMap::new();
    let numbered = prose.lines().filter_map(heading).map(|words| {
        let anchor = anchor(words);
        let times = repeated.entry(anchor.clone()).or_default();
        *times += 1;
        if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
    });
    numbered.collect()
}

/// Gives the words of `## words`.
fn heading(line: &str) -> Option<&str> {
    let words = line.trim_start_matches('#');
    let level = line.len() - words.len();
    ((1..=6).contains(&level) && words.starts_with(' ')).then(|| words.trim())
}

/// Makes an anchor of a heading: its words as they are shown, in lower case, without punctuation, hyphens for blanks.
fn anchor(heading: &str) -> String {
    let mut shown = heading.to_owned();
    while let Some((words, target)) = shown.split_once("](") {
        let behind = target.split_once(')').map_or("", |(_, behind)| behind);
        shown = format!("{words}{behind}");
    }
    let kept = shown.chars().filter(|sign| sign.is_alphanumeric() || " -_".contains(*sign));
    kept.flat_map(char::to_lowercase).map(|sign| if sign == ' ' { '-' } else { sign }).collect()
}

/// Gives the path from the root of what `path` names in the folder of `page`.
fn beside(page: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Leaves out what is code, in fences or within a line; lines keep their numbers.
fn without_code(text: &str) -> String {
    let prose = without_fences(text);
    let mut kept = String::with_capacity(prose.len());
    let mut rest = prose.as_str();
    while let Some(at) = rest.find('`') {
        let (before, from) = rest.split_at(at);
        kept.push_str(before);
        let (mark, after) = from.split_at(from.len() - from.trim_start_matches('`').len());
        rest = after;
        if let Some(code) = code_before(after, mark) {
            kept.extend(code.chars().filter(|sign| *sign == '\n'));
            rest = after.get(code.len() + mark.len()..).unwrap_or_default();
        }
    }
    kept.push_str(rest);
    kept
}

/// Gives what stands before the next run of as many backticks as `mark` has, in the same paragraph.
fn code_before<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    let paragraph = text.split("\n\n").next()?;
    let mut from = 0;
    while let Some(at) = paragraph.get(from..)?.find('`') {
        let start = from + at;
        let run = paragraph.get(start..)?;
        let length = run.len() - run.trim_start_matches('`').len();
        if length == mark.len() {
            return paragraph.get(..start);
        }
        from = start + length;
    }
    None
}

/// Leaves the lines of fenced code empty.
fn without_fences(text: &str) -> String {
    let mut prose = String::with_capacity(text.len());
    let mut open: Option<&str> = None;
    for line in text.lines() {
        match (open, fence(line)) {
            (None, None) => prose.push_str(line),
            (None, Some(mark)) => open = Some(mark),
            (Some(mark), Some(other)) if other.starts_with(mark) && line.trim() == other => open = None,
            (Some(_), _) => {}
        }
        prose.push('\n');
    }
    prose
}

/// Gives the marks with which a line opens or closes fenced code.
fn fence(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let sign = line.chars().next().filter(|sign| "`~".contains(*sign))?;
    let behind = line.trim_start_matches(sign);
    let mark = line.get(..line.len() - behind.len())?;
    (mark.len() >= 3 && !behind.contains('`')).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_with_their_lines_but_not_in_code_nor_to_other_sites() {
        let text = "# A\n\n[b](b.md), `[c](c.md)` and [d\ne](../d.md#e \"title\")\n\n```go\nf[g](h)\n```\n[i](#j)\n\
                    [k](https://example.com/k) [l](mailto:l@example.com) ``m ` [n](n.md)`` a ` alone\n\n[o](o.md)\n";
        let found: Vec<(usize, String)> =
            links(text).into_iter().map(|link| (link.line, link.target)).collect();
        let expected = [(3, "b.md"), (4, "../d.md#e"), (9, "#j"), (12, "o.md")];
        assert_eq!(found, expected.map(|(line, target)| (line, target.to_owned())));
    }

    #[test]
    fn fenced_code_ends_with_its_own_marks() {
        let text = "~~~~md\n```\n[a](a.md)\n```\n~~~\n[b](b.md)\n~~~~\n[c](c.md)\n```x``` [d](d.md)\n";
        let found: Vec<String> = links(text).into_iter().map(|link| link.target).collect();
        assert_eq!(found, ["c.md", "d.md"]);
    }

    #[test]
    fn a_link_leads_from_its_pages_folder() {
        let place = |page: &str, target: &str| {
            let link = Link { line: 1, target: target.to_owned() };
            link.place(page).map(|(place, anchor)| (place, anchor.to_owned()))
        };
        let to = |place: &str, anchor: &str| Some((place.to_owned(), anchor.to_owned()));
        assert_eq!(place("docs/a.md", "b.md#c"), to("docs/b.md", "c"));
        assert_eq!(place("docs/a.md", "#c"), to("docs/a.md", "c"));
        assert_eq!(place("docs/a.md", "../wit/"), to("wit", ""));
        assert_eq!(place("a.md", "./docs/b.md"), to("docs/b.md", ""));
        assert_eq!(place("docs/a.md", "../../b.md"), None);
        assert_eq!(place("docs/a.md", "/b.md"), None);
    }

    #[test]
    fn anchors_are_made_as_the_repositorys_page_makes_them() {
        let text = "# C and C++\n## Warnings of `mailroom status`\n## `[retry]`: base_ms, cap\n### [A link](to.md) here\n\
                    ####### too deep\n#no heading\n## Same\n## Same\n## Same\n```sh\n# a comment\n```\n";
        let expected = [
            "c-and-c",
            "warnings-of-mailroom-status",
            "retry-base_ms-cap",
            "a-link-here",
            "same",
            "same-1",
            "same-2",
        ];
        assert_eq!(anchors(text), BTreeSet::from(expected.map(str::to_owned)));
    }
}
