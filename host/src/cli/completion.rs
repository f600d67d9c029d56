//! `mailroom completion`: the script by which a shell completes commands and options.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::failure::Failure;
use super::{Cli, print};

#[derive(Debug, Args)]
pub(super) struct Completion {
    /// The shell that completes
    shell: Shell,
}

pub(super) fn completion(completion: &Completion) -> Result<(), Failure> {
    print::bytes(&script(completion.shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mailroom", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_has_a_script_that_knows_commands_and_options() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for word in ["mailroom", "dead", "replay", "dry-run", "completion"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
