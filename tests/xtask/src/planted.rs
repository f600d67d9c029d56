//! Checks the checkers: each patch in `tests/planted` plants a bug, and the history test, the simulator or the
//! exhaustive model has to fail on it, with the breach that the patch names; where it names several, each of them has to.
//! The patches are taken out again however this ends. `tests/planted/README.md` has the rules that a patch may name.

use crate::run::{Result, built, command, finish, output, root};
use crate::{guests, install};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const FOLDER: &str = "tests/planted";
const TEST: &str = "history::two_hosts_that_are_killed_again_and_again_keep_every_promise";
/// Number of messages: enough for each scenario of the test.
const MESSAGES: &str = "2000";
/// The line of a patch that says how the breach begins by which the bug is caught.
const CAUGHT_BY: &str = "Caught-by: ";
/// Start of a breach that the simulator finds, before the rule's name.
const BY_SIM: &str = "sim ";
/// Start of a breach that the exhaustive model finds, before the rule's name.
const BY_MODEL: &str = "model ";
/// The word that stands for whichever rule is broken.
const ANY: &str = "any";
/// Seeds within which the simulator finds it.
const SEEDS: &str = "2000";
/// Number of lines that are shown of the output of a run that went wrong.
const LINES_SHOWN: usize = 40;

/// Runs for each patch the test that it names, or for those only that have `name` in the names of their files. An error
/// names the bugs that were not caught.
pub(crate) fn run(name: Option<&str>) -> Result {
    let patches = named(patches()?, name)?;
    for patch in &patches {
        refuse_changed_files(patch)?;
    }
    install::install()?;
    guests::build()?;
    let mut complaints = Vec::new();
    for patch in &patches {
        match caught(patch) {
            Ok(breach) => println!("{}: caught, {breach}", patch.display()),
            Err(complaint) => complaints.push(format!("{}: {complaint}", patch.display())),
        }
    }
    // What lies in the target folder is to be the host as it is written.
    finish(build_host()?)?;
    match complaints.as_slice() {
        [] => Ok(()),
        some => Err(some.join("\n").into()),
    }
}

fn patches() -> Result<Vec<PathBuf>> {
    let mut patches = Vec::new();
    for entry in fs::read_dir(root()?.join(FOLDER))? {
        let file = Path::new(FOLDER).join(entry?.file_name());
        if file.extension().is_some_and(|extension| extension == "patch") {
            patches.push(file);
        }
    }
    patches.sort();
    if patches.is_empty() { Err(format!("no patch in {FOLDER}").into()) } else { Ok(patches) }
}

/// Keeps the patches that have a part in the names of their files; all where none is given.
fn named(patches: Vec<PathBuf>, part: Option<&str>) -> Result<Vec<PathBuf>> {
    let Some(part) = part else { return Ok(patches) };
    let has_part = |name: &OsStr| name.to_string_lossy().contains(part);
    let named: Vec<PathBuf> =
        patches.into_iter().filter(|patch| patch.file_name().is_some_and(has_part)).collect();
    if named.is_empty() {
        return Err(format!("no patch in {FOLDER} has `{part}` in its name").into());
    }
    Ok(named)
}

/// A file with changes of its own might lose them.
fn refuse_changed_files(patch: &Path) -> Result {
    let changed = output(command("git", &["apply", "--numstat", &patch.to_string_lossy()])?)?;
    for file in touched(&changed) {
        if !output(command("git", &["status", "--porcelain", "--", file])?)?.is_empty() {
            return Err(format!(
                "{file} has changes, and {} is for it: commit or stash them",
                patch.display()
            )
            .into());
        }
    }
    Ok(())
}

/// The files in what `git apply --numstat` prints.
fn touched(numstat: &str) -> Vec<&str> {
    numstat.lines().filter_map(|line| line.splitn(3, '\t').nth(2)).collect()
}

/// Plants the bug and runs what the patch names; gives the breaches by which it was caught.
fn caught(patch: &Path) -> Result<String> {
    let text = fs::read_to_string(root()?.join(patch))?;
    let wanted: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(CAUGHT_BY)).collect();
    if wanted.is_empty() {
        return Err(format!("it has no line `{CAUGHT_BY}`").into());
    }
    let planted = Planted::plant(patch)?;
    let found: Result<Vec<String>> = wanted.into_iter().map(found).collect();
    drop(planted);
    Ok(found?.join("; "))
}

/// Runs what has to fail, and gives the breach.
fn found(wanted: &str) -> Result<String> {
    if let Some(rule) = wanted.strip_prefix(BY_SIM) {
        let said = simulated(&["--seeds", SEEDS, "--no-shrink", "--failures", "1"])?;
        let missed = || format!("the simulator breaks no rule `{rule}` in {SEEDS} seeds; it says\n{said}");
        return Ok(said.lines().find(|line| breaks(line, "seed ", rule)).ok_or_else(missed)?.to_owned());
    }
    if let Some(rule) = wanted.strip_prefix(BY_MODEL) {
        let said = simulated(&["model"])?;
        let missed = || format!("the model breaks no rule `{rule}`; it says\n{said}");
        return Ok(said.lines().find(|line| breaks(line, "model ", rule)).ok_or_else(missed)?.to_owned());
    }
    finish(build_host()?)?;
    let said = tested()?;
    let missed = || format!("the history test finds no breach `{wanted}`; it says\n{}", end(&said));
    let breach = said.lines().map(str::trim).find(|line| line.starts_with(wanted));
    Ok(breach.ok_or_else(missed)?.to_owned())
}

/// Tells whether the simulator says in this line that a seed, or a scenario of the model, breaks the rule, or
/// one whose name begins so; any rule for [`ANY`].
fn breaks(line: &str, what: &str, rule: &str) -> bool {
    let rule = if rule == ANY { "" } else { rule };
    line.strip_prefix(what).is_some_and(|line| line.contains(&format!(" breaks {rule}")))
}

fn end(said: &str) -> String {
    let from = said.lines().count().saturating_sub(LINES_SHOWN);
    said.lines().skip(from).collect::<Vec<_>>().join("\n")
}

/// Returns what the simulator says with these arguments, breaches first.
fn simulated(args: &[&str]) -> Result<String> {
    let sim = ["run", "--quiet", "--profile", "sim", "--package", "mailroom-sim", "--"];
    let said = command("cargo", &sim)?.args(args).stderr(Stdio::inherit()).output()?.stdout;
    let said = String::from_utf8_lossy(&said);
    let told = said.lines().filter(|line| line.starts_with("seed ") || line.starts_with("model "));
    Ok(told.chain(said.lines()).take(LINES_SHOWN).collect::<Vec<_>>().join("\n"))
}

fn build_host() -> Result<Command> {
    // With the packages of the tests, so that dependencies are compiled with the same features once.
    command("cargo", &["build", "--quiet", "--workspace", "--exclude", "xtask", "--bin", "mailroom"])
}

/// Everything that the test says on its standard output, with which the breaches come.
fn tested() -> Result<String> {
    let mut test = command("cargo", &["test", "--quiet", "--workspace", "--exclude", "xtask"])?;
    test.args(["--test", "suite", "--", "--exact", TEST]);
    test.env("MAILROOM_BIN", built("mailroom")?).env("MAILROOM_HISTORY_MESSAGES", MESSAGES);
    test.env("MAILROOM_KAFKA_JARS", mailroom_servers::KafkaRelease::V4.jars());
    Ok(String::from_utf8_lossy(&test.stderr(Stdio::inherit()).output()?.stdout).into_owned())
}

/// A patch that is applied for as long as this lives. A small shell takes it out as soon as the pipe to it
/// closes, which the end of this process does too, however it comes.
struct Planted(Child);

impl Planted {
    fn plant(patch: &Path) -> Result<Self> {
        finish(command("git", &["apply", &patch.to_string_lossy()])?)?;
        let script = "trap '' INT TERM HUP; read -r nothing; exec git apply --reverse \"$0\"";
        let mut guard = command("sh", &["-c", script, &patch.to_string_lossy()])?;
        match guard.stdin(Stdio::piped()).spawn() {
            Ok(guard) => Ok(Self(guard)),
            Err(error) => {
                finish(command("git", &["apply", "--reverse", &patch.to_string_lossy()])?)?;
                Err(error.into())
            }
        }
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        // Closes the pipe first.
        match self.0.wait() {
            Ok(status) if status.success() => {}
            ended => eprintln!("xtask planted: a patch was not taken out ({ended:?}): see `git status`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_patch_are_read_from_what_git_says() {
        assert_eq!(
            touched("3\t1\thost/src/a.rs\n1\t1\thost/src/b c.sql\n"),
            ["host/src/a.rs", "host/src/b c.sql"]
        );
        assert!(touched("").is_empty());
    }

    #[test]
    fn a_breach_of_the_simulator_is_told_from_what_else_it_says() {
        assert!(breaks("seed 17 breaks S6: message 1 is said to be interrupted", "seed ", "S6"));
        assert!(breaks("seed 17 breaks S6: message 1 is said to be interrupted", "seed ", "S"));
        assert!(!breaks("seed 17 breaks L: nothing goes on", "seed ", "S"));
        assert!(breaks("model lost breaks S8: s1 commits for lane 1", "model ", "S8"));
        assert!(!breaks("seed 17 breaks S8: s1 commits for lane 1", "model ", "S8"));
    }

    #[test]
    fn any_breach_is_told_from_what_breaks_nothing() {
        assert!(breaks("seed 17 breaks S6: message 1 is said to be interrupted", "seed ", ANY));
        assert!(breaks("seed 17 breaks liveness: message 1 is pending", "seed ", ANY));
        assert!(breaks("model lost breaks S8: s1 commits for lane 1", "model ", ANY));
        assert!(!breaks("model lost breaks S8: s1 commits for lane 1", "seed ", ANY));
        assert!(!breaks("2000 runs, 1 steps in 0.1 s: every promise is kept", "seed ", ANY));
    }

    #[test]
    fn patches_are_chosen_by_a_part_of_their_files_names() {
        let all = || ["a-row.patch", "a-lane.patch"].map(|name| Path::new(FOLDER).join(name)).to_vec();
        assert_eq!(named(all(), None).unwrap(), all());
        assert_eq!(named(all(), Some("a-")).unwrap(), all());
        assert_eq!(named(all(), Some("row")).unwrap(), [Path::new(FOLDER).join("a-row.patch")]);
        let refused = named(all(), Some("planted")).unwrap_err().to_string();
        assert!(refused.contains(FOLDER) && refused.contains("`planted`"), "{refused}");
    }

    #[test]
    fn every_patch_fits_the_code_and_says_what_catches_it() {
        let patches = patches().unwrap();
        assert!(patches.len() >= 25);
        for patch in patches {
            let text = fs::read_to_string(root().unwrap().join(&patch)).unwrap();
            let wanted: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(CAUGHT_BY)).collect();
            assert!(!wanted.is_empty(), "{}", patch.display());
            // A rule without a name would stand for any, and an editor may take the space away.
            assert!(wanted.iter().all(|breach| breach.trim_end() == *breach), "{}", patch.display());
            finish(command("git", &["apply", "--check", &patch.to_string_lossy()]).unwrap()).unwrap();
        }
    }
}
