//! A link of a page leads to what is there, on the repository's page and in the book.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Breach, File};
use crate::book::{SUMMARY, chapters};
use crate::pages::{Link, anchors, folders, links};

pub(super) fn links_lead_somewhere(files: &[File]) -> Vec<Breach> {
    let places: BTreeSet<&str> =
        files.iter().flat_map(|file| folders(&file.path).chain([&*file.path])).collect();
    let headings: BTreeMap<&str, BTreeSet<String>> =
        files.iter().filter(|file| is_page(file)).map(|page| (&*page.path, anchors(&page.text))).collect();
    let mut breaches = Vec::new();
    for page in files.iter().filter(|file| is_page(file)) {
        for link in links(&page.text) {
            breaches.extend(broken(page, &link, &places, &headings));
        }
    }
    breaches
}

fn broken(
    page: &File,
    link: &Link,
    places: &BTreeSet<&str>,
    headings: &BTreeMap<&str, BTreeSet<String>>,
) -> Option<Breach> {
    let target = &link.target;
    let Some((place, anchor)) = link.place(&page.path).filter(|(place, _)| places.contains(&**place)) else {
        let remedy = "name a file or folder of the repository, from the page's own folder";
        return Some(page.breach(link.line, &format!("a link to `{target}`, which is not there"), remedy));
    };
    // Only pages have headings: in other files an anchor is a line.
    let anchors = headings.get(&*place).filter(|_| !anchor.is_empty())?;
    let remedy = "name a heading in lower case, without punctuation, with hyphens for blanks";
    let breach =
        || page.breach(link.line, &format!("a link to `{target}`, which is no heading there"), remedy);
    (!anchors.contains(anchor)).then(breach)
}

pub(super) fn the_book_has_its_pages(files: &[File]) -> Vec<Breach> {
    let Some(summary) = files.iter().find(|file| file.path == SUMMARY) else { return Vec::new() };
    let chapters = chapters(&summary.text);
    let remedy = format!("list it in {SUMMARY}");
    let mut breaches = Vec::new();
    for page in files.iter().filter(|file| is_page(file) && file.path != SUMMARY) {
        if !chapters.contains(&page.path) {
            if page.path.starts_with("docs/") {
                breaches.push(page.breach(1, "a page of docs that is not in the book", &remedy));
            }
            continue;
        }
        for link in links(&page.text) {
            let place = link.place(&page.path).map(|(place, _)| place);
            if place.is_some_and(|place| place.ends_with(".md") && !chapters.contains(&place)) {
                let rule = format!("a link to `{}`, which is not in the book", link.target);
                breaches.push(page.breach(link.line, &rule, &remedy));
            }
        }
    }
    breaches
}

fn is_page(file: &File) -> bool {
    file.path.ends_with(".md")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> File {
        File::new(path, text)
    }

    #[test]
    fn a_link_to_what_is_not_there_is_found_with_its_line() {
        let there = [
            page("README.md", "# A b\n[c](docs/c.md#d-e), [wit](wit), [file](wit/x.wit#L3), [up](#a-b)\n"),
            page("docs/c.md", "## D, e!\n[back](../README.md#a-b)\n"),
            File::new("wit/x.wit", ""),
        ];
        assert_eq!(links_lead_somewhere(&there), []);
        for target in ["docs/d.md", "c.md", "../README.md", "#b", "docs/c.md#a-b", "docs/c.md#D-e", "wi"] {
            let mut files = there.to_vec();
            files.push(page("x.md", &format!("\n[x]({target})\n")));
            let breaches = links_lead_somewhere(&files);
            assert_eq!(breaches.iter().map(|breach| breach.line).collect::<Vec<_>>(), [2], "{target}");
        }
        let example = page("x.md", "`[x](gone.md)`\n\n```go\nf[x](gone)\n```\n");
        assert_eq!(links_lead_somewhere(&[example]), []);
    }

    #[test]
    fn a_page_that_the_book_lacks_is_found() {
        let summary = page("docs/SUMMARY.md", "- [a](a.md)\n- [r](../README.md)\n");
        let whole = [
            summary,
            page("docs/a.md", "[r](../README.md) [w](../w.txt)"),
            page("README.md", "[a](docs/a.md#b)"),
        ];
        assert_eq!(the_book_has_its_pages(&whole), []);
        let mut files = whole.to_vec();
        files.push(page("docs/b.md", ""));
        files.push(page("other/README.md", "[b](../docs/b.md)"));
        assert_eq!(the_book_has_its_pages(&files).len(), 1, "docs/b.md");
        files.push(page("README.md", "\n[b](docs/b.md)"));
        assert_eq!(the_book_has_its_pages(&files).last().unwrap().line, 2, "a chapter links to it");
    }
}
