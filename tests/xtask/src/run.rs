//! Running other programs from the root of the repository, and where things are.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Result of a command of xtask; the error is for people.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The root of the repository. Cargo says at run time for which checkout it runs us: several may share a
/// target folder, and with it this program.
pub(crate) fn root() -> Result<PathBuf> {
    let this = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Ok(Path::new(&this).join("../..").canonicalize()?)
}

/// A program to be run at the root.
pub(crate) fn command(program: &str, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()?);
    // What `cargo run` says of xtask would make cargo compile again whatever watches these.
    for (name, _) in std::env::vars_os() {
        let about_xtask = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if name.to_str().is_some_and(|name| about_xtask.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(&name);
        }
    }
    Ok(command)
}

/// Runs to the end, output passed through; an error when it cannot start or fails.
pub(crate) fn finish(mut command: Command) -> Result {
    let shown = shown(&command);
    let status = command.status().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed ({status})").into()) }
}

/// Runs to the end and returns what it wrote to its standard output.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let shown = shown(&command);
    let output = command.output().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{shown}` failed ({}): {said}", output.status).into())
}

/// The paths of the files that git has or would take, from the root.
pub(crate) fn files() -> Result<Vec<String>> {
    let list = output(command("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?)?;
    let root = root()?;
    // A file may be deleted and still be in the index.
    let there = list.split_terminator('\0').filter(|path| root.join(path).is_file());
    Ok(there.map(str::to_owned).collect())
}

/// Tells whether a program is there and content with its arguments.
pub(crate) fn succeeds(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

/// A file in the folder in which cargo puts debug builds: this program's own.
pub(crate) fn built(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().ok_or("this program is in no folder")?;
    Ok(folder.join(name))
}

/// Returns where the servers of tests and of xtask have their directories, one each: `servers` in cargo's
/// target folder, if Postgres can get there.
pub(crate) fn servers() -> Result<PathBuf> {
    Ok(mailroom_servers::reachable_dir(&built("../servers")?)?)
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
