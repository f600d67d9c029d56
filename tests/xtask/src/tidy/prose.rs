//! Prose of doc comments: a first word that a sentence can begin with, more than the name of the item, and one word
//! for one thing.

use super::source::{Breach, File};
use std::path::Path;

/// First words that leave a doc comment without what it speaks of.
const FRAGMENTS: &str = "\
    Again Along Also Among And Around As Before Behind Below Beside Between Beyond By For From Here How \
    However In It Its Now Nowhere Of On Or Per Since So Somewhere That Their Them There They Those To \
    Under Until Up What Whatever When Where Whether Which While Who Whoever Whom Whose Why";

/// Beginnings that say as little.
const PRONOUNS: [&str; 8] = [
    "All of it",
    "All of them",
    "The one in",
    "The one of",
    "The one on",
    "The one that",
    "The one where",
    "The ones that",
];

/// Words that have another one in this project, with that one. Its own are in `docs/glossary.md`.
const STRANGERS: [(&str, &str); 20] = [
    ("caution", "admission"),
    ("dedup", "duplicate"),
    ("dedupe", "drop a duplicate"),
    ("deduplicated", "dropped as a duplicate"),
    ("deduplication", "dropping of duplicates"),
    ("dlq", "dead letters"),
    ("hungry", "has more"),
    ("let go", "release"),
    ("lets go", "releases"),
    ("mischief", "hostile"),
    ("reaper", "burial"),
    ("settler", "settlement"),
    ("shelf", "folder"),
    ("steal", "take over"),
    ("stolen", "taken over"),
    ("takeover", "take-over"),
    ("unheard", "dropped"),
    ("unstored", "without a row"),
    ("voice", "log"),
    ("zombie", "a host whose expiry has passed"),
];

/// A doc comment: all its lines, with the item that it describes.
struct Doc<'f> {
    /// Number of the first line, from 1.
    line: usize,
    lines: Vec<&'f str>,
    /// Name of the item, or of the module that the file is.
    name: Option<&'f str>,
}

impl Doc<'_> {
    /// Returns the first paragraph in one line.
    fn first_paragraph(&self) -> String {
        let lines = self.lines.iter().map(|line| line.trim()).take_while(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join(" ")
    }
}

pub(super) fn docs_begin_with_a_verb_or_a_noun(files: &[File]) -> Vec<Breach> {
    let remedy = "begin with a verb in the third person (\"Returns\", \"Tells\") or with a noun";
    each_doc(files, |file, doc| {
        let text = doc.first_paragraph();
        let beginning = fragment(&text)?;
        Some(file.breach(doc.line, &format!("a doc comment begins with \"{beginning}\""), remedy))
    })
}

pub(super) fn no_doc_repeats_a_name(files: &[File]) -> Vec<Breach> {
    let remedy = "say what it means, or leave it out where nothing needs it";
    each_doc(files, |file, doc| {
        let name = doc.name.filter(|_| doc.lines.len() == 1)?;
        let text = doc.first_paragraph();
        let said =
            ["A ", "An ", "The "].iter().find_map(|article| text.strip_prefix(article)).unwrap_or(&text);
        let repeats = !said.is_empty() && squeezed(said) == squeezed(name);
        repeats.then(|| file.breach(doc.line, &format!("a doc comment only repeats `{name}`"), remedy))
    })
}

pub(super) fn docs_have_the_words_of_the_project(files: &[File]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for doc in docs(file) {
            let mut is_code = false;
            for (line, text) in (doc.line..).zip(&doc.lines) {
                is_code ^= text.trim_start().starts_with("```");
                let text = if is_code { String::new() } else { prose(text) };
                for (word, instead) in STRANGERS.iter().filter(|(word, _)| has_word(&text, word)) {
                    let remedy = format!("the word here is \"{instead}\"");
                    breaches.push(file.breach(line, &format!("\"{word}\" in a doc comment"), &remedy));
                }
            }
        }
    }
    breaches
}

fn each_doc(files: &[File], rule: impl Fn(&File, &Doc<'_>) -> Option<Breach>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        breaches.extend(docs(file).iter().filter_map(|doc| rule(file, doc)));
    }
    breaches
}

/// Collects the doc comments of a file.
fn docs(file: &File) -> Vec<Doc<'_>> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found: Vec<Doc<'_>> = Vec::new();
    let mut open: Option<(&str, Doc<'_>)> = None;
    for (index, line) in lines.iter().enumerate() {
        let now = doc_line(line);
        if let (Some((marker, doc)), Some((next, text))) = (&mut open, now)
            && *marker == next
        {
            doc.lines.push(text);
            continue;
        }
        found.extend(open.take().map(|(_, doc)| doc));
        if let Some((marker, text)) = now {
            let name = if marker == "//!" { module(&file.path) } else { item(lines.get(index..)) };
            open = Some((marker, Doc { line: index + 1, lines: vec![text], name }));
        }
    }
    found.extend(open.map(|(_, doc)| doc));
    found
}

/// Splits a line of a doc comment into its marker and its text.
fn doc_line(line: &str) -> Option<(&'static str, &str)> {
    let line = line.trim_start();
    let found = ["///", "//!"].into_iter().find_map(|marker| Some((marker, line.strip_prefix(marker)?)));
    found.filter(|(_, text)| !text.starts_with('/'))
}

/// Returns the name of the module that a file is; a crate's root has none.
fn module(path: &str) -> Option<&str> {
    let stem = Path::new(path).file_stem()?.to_str()?;
    (!matches!(stem, "lib" | "main")).then_some(stem)
}

/// Finds the name of the item behind the doc comment with which `lines` begin.
fn item<'f>(lines: Option<&[&'f str]>) -> Option<&'f str> {
    let mut is_attribute = false;
    let code = lines?.iter().map(|line| line.trim()).find(|line| {
        let is_other = doc_line(line).is_some() || line.starts_with("#[") || is_attribute;
        is_attribute = (line.starts_with("#[") || is_attribute) && !line.ends_with(']');
        !is_other
    })?;
    let code = code.strip_prefix("pub").map_or(code, |rest| match rest.strip_prefix('(') {
        Some(rest) => rest.split_once(") ").map_or(rest, |(_, rest)| rest),
        None if rest.starts_with(' ') => rest.trim_start(),
        None => code,
    });
    let kinds =
        ["async", "const", "enum", "fn", "mod", "static", "struct", "trait", "type", "union", "unsafe"];
    let is_kind = |word: &&str| kinds.contains(word);
    let word = code.split_ascii_whitespace().find(|word| !is_kind(word))?;
    let name = word.split(|sign: char| !sign.is_alphanumeric() && sign != '_').next()?;
    (!name.is_empty() && !matches!(name, "impl" | "use" | "let" | "macro_rules")).then_some(name)
}

/// Returns the beginning that makes a fragment of a sentence.
fn fragment(text: &str) -> Option<&'static str> {
    let first = text.split_whitespace().next()?.trim_end_matches([',', '.', ':', ';', '!', '?']);
    let begins = |start: &&str| {
        text.strip_prefix(*start).is_some_and(|rest| !rest.starts_with(|sign: char| sign.is_alphanumeric()))
    };
    let word = FRAGMENTS.split_ascii_whitespace().find(|word| *word == first);
    word.or_else(|| PRONOUNS.into_iter().find(begins))
}

/// Keeps letters and digits only, in lower case: `CallEnded`, `call_ended` and "Call ended." are one.
fn squeezed(text: &str) -> String {
    text.chars().filter(|sign| sign.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Leaves out what is quoted as code.
fn prose(text: &str) -> String {
    text.split('`').step_by(2).collect::<Vec<_>>().join("`").to_lowercase()
}

fn has_word(text: &str, word: &str) -> bool {
    let is_letter = |sign: char| sign.is_alphanumeric();
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(is_letter) && !after.is_some_and(is_letter)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: fn(&[File]) -> Vec<Breach>, text: &str) -> Vec<usize> {
        rule(&[File::new("host/src/lane.rs", text)]).iter().map(|breach| breach.line).collect()
    }

    #[test]
    fn a_fragment_at_the_beginning_is_found_with_its_place() {
        for text in ["What came of it.", "Why, for people.", "Its key.", "All of them.", "The one that runs."]
        {
            assert_eq!(
                lines(docs_begin_with_a_verb_or_a_noun, &format!("\n    /// {text}\n    a: u8,\n")),
                [2]
            );
            assert_eq!(lines(docs_begin_with_a_verb_or_a_noun, &format!("//! {text}\n")), [1], "{text}");
        }
        let second = "/// Returns it.\nfn a() {}\n/// How\n/// much.\nfn b() {}\n";
        assert_eq!(lines(docs_begin_with_a_verb_or_a_noun, second), [3]);
        let breaches = docs_begin_with_a_verb_or_a_noun(&[File::new("a.rs", "/// What came of it.\n")]);
        let said = "a.rs:1: a doc comment begins with \"What\"; begin with a verb";
        assert!(breaches[0].to_string().starts_with(said), "{}", breaches[0]);
    }

    #[test]
    fn a_verb_or_a_noun_is_fine_and_so_is_what_is_no_doc() {
        for text in
            ["Returns what came of it.", "Lease of a lane.", "`What`.", "Whatsoever.", "The one command."]
        {
            assert!(lines(docs_begin_with_a_verb_or_a_noun, &format!("/// {text}\n")).is_empty(), "{text}");
        }
        for text in
            ["// What it waits for.\n", "//// What\n", "/// Returns it.\n///\n/// What follows is more.\n"]
        {
            assert!(lines(docs_begin_with_a_verb_or_a_noun, text).is_empty(), "{text}");
        }
        assert!(docs_begin_with_a_verb_or_a_noun(&[File::new("a.wit", "/// What\n")]).is_empty());
    }

    #[test]
    fn a_doc_that_only_repeats_the_name_is_found() {
        for text in [
            "/// The lane.\npub struct Lane<S> {",
            "/// A call ended.\n#[must_use]\npub(super) async fn call_ended(&self) {",
            "/// The breaker opened.\n#[error(\n    \"x\"\n)]\nBreakerOpened,",
            "/// `content-type`.\npub content_type: Option<String>,",
            "/// Call limit\nconst CALL_LIMIT: u8 = 1;",
            "//! The lane.\n",
        ] {
            assert_eq!(lines(no_doc_repeats_a_name, text), [1], "{text}");
        }
    }

    #[test]
    fn a_doc_that_says_more_than_the_name_is_fine() {
        for text in [
            "/// The lane of the partition.\npub lane: Lane,",
            "/// The lane.\npub lease: Lease,",
            "/// The lane.\n/// It has one owner.\npub struct Lane;",
            "//! The lane of a partition.\n",
            "/// The lane.\nimpl Lane {",
            "/// The lane.\n",
        ] {
            assert!(lines(no_doc_repeats_a_name, text).is_empty(), "{text}");
        }
        assert!(no_doc_repeats_a_name(&[File::new("sim/src/main.rs", "//! Main.\n")]).is_empty());
    }

    #[test]
    fn a_word_of_others_is_found_and_its_own_named() {
        let text = "/// Returns it.\n///\n/// A DLQ, which lets go of it.\nfn a() {}\n";
        let breaches = docs_have_the_words_of_the_project(&[File::new("a.rs", text)]);
        let said: Vec<_> = breaches.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!(said[0], "a.rs:3: \"dlq\" in a doc comment; the word here is \"dead letters\"");
        assert!(said[1].starts_with("a.rs:3: \"lets go\""), "{said:?}");
    }

    #[test]
    fn a_word_is_fine_in_code_in_others_and_outside_of_docs() {
        for text in [
            "/// The header `dedup`.\n",
            "/// Invoiced.\n",
            "// A zombie.\n",
            "/// ```\n/// voice();\n/// ```\n",
        ] {
            assert!(lines(docs_have_the_words_of_the_project, text).is_empty(), "{text}");
        }
    }
}
