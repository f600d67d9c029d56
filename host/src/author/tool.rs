//! Programs of a language's own toolchain.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{AuthorError, shell_word};

/// A program that has to be there.
pub(super) struct Tool {
    /// Path of the tool, or its name where `PATH` has it.
    pub(super) program: &'static str,
    /// The argument with which it tells its version.
    pub(super) version_argument: &'static str,
    /// The oldest version that serves.
    pub(super) oldest: (u32, u32),
    /// The one command that installs it.
    pub(super) install: &'static str,
}

impl Tool {
    /// The program in a folder, once it is known to be new enough.
    ///
    /// # Errors
    /// Where it is missing or too old; names the command that installs it.
    pub(super) fn command(&self, folder: &Path) -> Result<Command, AuthorError> {
        let missing =
            |why: String| AuthorError::Tool(format!("{}{why}; install it: {}", self.program, self.install));
        let said = Command::new(self.program).arg(self.version_argument).output();
        let said = said.map_err(|error| match error.kind() == io::ErrorKind::NotFound {
            true => missing(" is not installed".to_owned()),
            false => missing(format!(" cannot be started ({error})")),
        })?;
        let text = String::from_utf8_lossy(&said.stdout);
        let (major, minor) = self.oldest;
        match version(&text) {
            Some(found) if found < self.oldest => Err(missing(format!(
                " {}.{} is too old, handlers need {major}.{minor} or newer",
                found.0, found.1
            ))),
            Some(_) | None => {
                let mut command = Command::new(self.program);
                command.current_dir(folder);
                Ok(command)
            }
        }
    }
}

/// The first `N.N` in what a program says of its version.
fn version(text: &str) -> Option<(u32, u32)> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    words.filter(|word| word.contains('.')).find_map(|word| {
        let mut numbers = word.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    })
}

/// Runs a program to its end; what it says goes to standard error, where a person looks.
///
/// # Errors
/// Where it fails. Its own words came before.
pub(super) fn run(command: &mut Command) -> Result<(), AuthorError> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
    let status = status.map_err(|error| AuthorError::Tool(format!("{shown}: {error}")))?;
    if status.success() { Ok(()) } else { Err(AuthorError::Build(format!("`{shown}` failed ({status})"))) }
}

/// Runs a program to its end and gives its standard output; the rest goes to standard error.
///
/// # Errors
/// As [`run`].
pub(super) fn output(command: &mut Command) -> Result<Vec<u8>, AuthorError> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let ended = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let ended = ended.map_err(|error| AuthorError::Tool(format!("{shown}: {error}")))?;
    let failed = || AuthorError::Build(format!("`{shown}` failed ({})", ended.status));
    if ended.status.success() { Ok(ended.stdout) } else { Err(failed()) }
}

fn shown(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={}", name.to_string_lossy(), shell_word(&value?.to_string_lossy())))
    });
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words = words.map(|word| shell_word(&OsStr::to_string_lossy(word)));
    set.chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        for (said, found) in [
            ("go version go1.26.8 linux/amd64", Some((1, 26))),
            ("v20.20.2\n", Some((20, 20))),
            ("Python 3.11.7", Some((3, 11))),
            ("Debian clang version 14.0.6", Some((14, 0))),
            ("no numbers", None),
        ] {
            assert_eq!(version(said), found, "{said}");
        }
    }

    #[test]
    fn a_program_that_is_missing_or_too_old_is_named_with_what_installs_it() {
        let install = "apt-get install tool";
        let missing =
            Tool { program: "no-such-program", version_argument: "--version", oldest: (1, 0), install };
        let said = missing.command(Path::new(".")).unwrap_err().to_string();
        assert_eq!(said, "no-such-program is not installed; install it: apt-get install tool");

        let old = Tool { program: "cargo", version_argument: "--version", oldest: (1000, 2), install };
        let said = old.command(Path::new(".")).unwrap_err().to_string();
        assert!(
            said.starts_with("cargo 1.")
                && said.contains("is too old, handlers need 1000.2 or newer; install it"),
            "{said}"
        );
    }
}
