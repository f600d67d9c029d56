//! Checks the rules of the house that no compiler knows, over the files of the repository. A rule is a
//! function from files to breaches, with a test that breaks it.

mod banned;
mod homes;
mod links;
mod manifests;
mod migrations;
mod names;
mod prose;
mod quotations;
mod reasons;
mod size;
mod source;
mod traces;

use crate::run::{self, Result, root};
use source::{Breach, File};
use std::fs;

type Rule = fn(&[File]) -> Vec<Breach>;

const RULES: [Rule; 16] = [
    names::no_names_that_say_nothing,
    names::no_mod_rs,
    size::no_long_files,
    homes::one_home_each,
    banned::nothing_unfinished_or_ignored,
    banned::no_sleeping_tests,
    reasons::every_expect_has_a_reason,
    manifests::every_member_takes_the_lints,
    traces::no_traces_of_a_machine,
    migrations::numbered_without_gaps,
    links::links_lead_somewhere,
    links::the_book_has_its_pages,
    quotations::errors_are_quoted_as_they_are_said,
    prose::docs_begin_with_a_verb_or_a_noun,
    prose::no_doc_repeats_a_name,
    prose::docs_have_the_words_of_the_project,
];

/// Prints each breach with its place and remedy; an error when there is one.
pub(crate) fn check() -> Result {
    let files = files()?;
    let breaches: Vec<Breach> = RULES.iter().flat_map(|rule| rule(&files)).collect();
    for breach in &breaches {
        eprintln!("{breach}");
    }
    println!("{}", size::summary(&files));
    match breaches.len() {
        0 => Ok(()),
        count => Err(format!("rules broken: {count}").into()),
    }
}

/// The files that git has or would take, in which text can be read.
fn files() -> Result<Vec<File>> {
    let root = root()?;
    let texts = run::files()?.into_iter().filter_map(|path| {
        let text = fs::read_to_string(root.join(&path)).ok()?;
        Some(File::new(&path, &text))
    });
    Ok(texts.collect())
}
