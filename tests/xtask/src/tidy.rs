//! Checks the rules of the house that no compiler knows, over the files of the repository. A rule is a
//! function from files to breaches, with a test that breaks it.

mod banned;
mod homes;
mod manifests;
mod migrations;
mod names;
mod reasons;
mod size;
mod source;
mod traces;

use crate::run::{Result, command, output, root};
use source::{Breach, File};
use std::fs;

type Rule = fn(&[File]) -> Vec<Breach>;

const RULES: [Rule; 10] = [
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
    let list = output(command("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?)?;
    let mut files = Vec::new();
    for path in list.split_terminator('\0') {
        // A file may be deleted and still be in the index, or be no text.
        if let Ok(text) = fs::read_to_string(root.join(path)) {
            files.push(File::new(path, &text));
        }
    }
    Ok(files)
}
