//! `mailroom man`: a man page of each command.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _};

use super::Cli;
use super::failure::Failure;

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder of the pages, which is made where it is missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn man(man: &Man) -> Result<(), Failure> {
    pages(&man.folder).map_err(|error| Failure::Io("writing the man pages", error))
}

fn pages(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Names of pages that a command and those below it have.
    fn expected(command: &clap::Command, name: &str, names: &mut BTreeSet<String>) {
        names.insert(format!("{name}.1"));
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            expected(below, &format!("{name}-{}", below.get_name()), names);
        }
    }

    #[test]
    fn every_command_that_help_shows_has_a_page_that_tells_its_options() {
        let folder = std::env::temp_dir().join(format!("mailroom-man-{}", uuid::Uuid::now_v7()));
        pages(&folder).unwrap();
        let entries = fs::read_dir(&folder).unwrap();
        let written: BTreeSet<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let mut names = BTreeSet::new();
        expected(&Cli::command(), "mailroom", &mut names);
        assert!(written == names && names.contains("mailroom-dead-replay.1"), "{written:?}, {names:?}");
        let page = fs::read_to_string(folder.join("mailroom-dead-replay.1")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(page.contains(".TH") && page.contains("dry\\-run"), "{page}");
    }
}
