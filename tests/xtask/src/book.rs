//! Makes a book of the pages that `docs/SUMMARY.md` lists, by mdBook. Each page lies in the book where it lies in the
//! repository, with the files that it links to, so that links lead to the same things in both.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::pages::{folders, links};
use crate::run::{Result, built, command, files, finish, root, succeeds};

/// The list of chapters.
pub(crate) const SUMMARY: &str = "docs/SUMMARY.md";
const SETTINGS: &str = "docs/book.toml";

/// Builds it in cargo's target folder. mdBook says where.
pub(crate) fn build() -> Result {
    if !succeeds("mdbook", &["--version"]) {
        return Err("missing: mdBook; `cargo install mdbook --version 0.5.4 --locked` compiles it".into());
    }
    let (root, book) = (root()?, built("../book")?);
    if book.exists() {
        fs::remove_dir_all(&book)?;
    }
    let summary = fs::read_to_string(root.join(SUMMARY))?;
    let chapters = chapters(&summary);
    let mut wanted = chapters.clone();
    for chapter in &chapters {
        let text = fs::read_to_string(root.join(chapter))?;
        wanted.extend(links(&text).iter().filter_map(|link| Some(link.place(chapter)?.0)));
    }
    for path in files()?.iter().filter(|path| is_wanted(path, &wanted)) {
        copy(&root.join(path), &book.join("src").join(path))?;
    }
    fs::write(book.join("src/SUMMARY.md"), from_root(&summary))?;
    copy(&root.join(SETTINGS), &book.join("book.toml"))?;
    finish(command("mdbook", &["build", &book.to_string_lossy()])?)
}

/// Gives the paths of the pages that a summary lists, from the root.
pub(crate) fn chapters(summary: &str) -> BTreeSet<String> {
    links(summary).iter().filter_map(|link| Some(link.place(SUMMARY)?.0)).collect()
}

/// True for what is wanted by itself or in a folder that is.
fn is_wanted(path: &str, wanted: &BTreeSet<String>) -> bool {
    wanted.contains(path) || folders(path).any(|folder| wanted.contains(folder))
}

/// Gives the summary with its links from the root, where the book has it.
fn from_root(summary: &str) -> String {
    let lines = summary.lines().map(|line| {
        let links = links(line);
        match links.first().and_then(|link| Some((&link.target, link.place(SUMMARY)?.0))) {
            Some((target, place)) => line.replace(&format!("]({target})"), &format!("]({place})")),
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn copy(from: &Path, to: &Path) -> Result {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).map_err(|error| format!("{} cannot be copied: {error}", from.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "# Summary\n\n[a](../README.md)\n\n# Part\n\n- [b](b.md)\n  - [c](../c/README.md)";

    #[test]
    fn chapters_and_their_links_are_from_the_root() {
        let expected = ["README.md", "c/README.md", "docs/b.md"];
        assert_eq!(chapters(LISTED), BTreeSet::from(expected.map(str::to_owned)));
        let expected = "# Summary\n\n[a](README.md)\n\n# Part\n\n- [b](docs/b.md)\n  - [c](c/README.md)";
        assert_eq!(from_root(LISTED), expected);
    }

    #[test]
    fn a_folder_is_wanted_with_all_that_is_in_it() {
        let wanted = BTreeSet::from(["wit", "docs/a.md"].map(str::to_owned));
        assert!(is_wanted("wit/deps/x.wit", &wanted) && is_wanted("docs/a.md", &wanted));
        assert!(!is_wanted("docs/b.md", &wanted) && !is_wanted("without", &wanted));
    }
}
