//! Runs all tests and counts them. The last line, alone, is the count; a full run with fewer tests than
//! the committed number fails, so that tests do not vanish unseen.

use crate::count::{Count, Failures};
use crate::run::{Result, built, command, finish, root, servers};
use crate::{guests, install, languages, prometheus};
use mailroom_servers::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

const AT_LEAST: &str = "tests/xtask/tests-at-least.txt";

/// Runs the tests and says what is wrong before the last line; an error is what kept the tests from being
/// run. `args` as given on the command line: names and options, then `--` and arguments of the test programs.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let args = Args::read(args);
    install::install()?;
    install::releases()?;
    prometheus::fetch()?;
    guests::build()?;
    // With the packages of the tests, so that dependencies are compiled with the same features once.
    finish(command("cargo", &["build", "--workspace", "--exclude", "xtask", "--bin", "mailroom"])?)?;
    languages::install()?;
    languages::build()?;
    let mut count = Count::default();
    let mut failures = Failures::default();
    let mut complaints = Vec::new();
    for packages in [["--workspace", "--exclude", "xtask"].as_slice(), ["-p", "xtask"].as_slice()] {
        let tests = cargo_test(packages, &args).and_then(|tests| stream(tests, &mut count, &mut failures));
        complaints.extend(tests.err().map(|error| error.to_string()));
    }
    complaints.extend(stop_servers().err().map(|error| error.to_string()));
    if args.is_full() {
        let text = fs::read_to_string(root()?.join(AT_LEAST))?;
        complaints.extend(too_few(count, &text));
    }
    for complaint in failures.into_reasons().iter().chain(&complaints) {
        eprintln!("xtask test: {complaint}");
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    let good = complaints.is_empty() && count.failed == 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cargo_test(packages: &[&str], args: &Args) -> Result<Command> {
    let mut test = command("cargo", &["test", "--no-fail-fast"])?;
    test.args(packages).args(&args.options).arg("--").args(&args.filters).args(&args.rest);
    test.env("SQLX_OFFLINE", "true");
    test.env("MAILROOM_BIN", built("mailroom")?);
    test.env("MAILROOM_KAFKA_JARS", mailroom_servers::KafkaRelease::V4.jars());
    Ok(test)
}

/// Runs the command and counts in what it prints while passing it on.
fn stream(mut tests: Command, count: &mut Count, failures: &mut Failures) -> Result {
    let mut child = tests.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or("the tests have no output")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        count.add(&line);
        failures.add(&line);
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("the tests failed ({status})").into()) }
}

/// Ends the servers that the test programs, which are over, left running.
fn stop_servers() -> Result {
    for entry in fs::read_dir(servers()?)? {
        match mailroom_servers::stop_leftover(&entry?.path()) {
            // Another run of the tests has it.
            Ok(_) | Err(Error::InUse { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn too_few(count: Count, at_least: &str) -> Option<String> {
    let ran = count.passed + count.failed;
    match at_least.trim().parse::<u64>() {
        Ok(least) if ran >= least => None,
        Ok(least) => Some(format!("{ran} tests ran, {AT_LEAST} asks for {least}: find the lost ones")),
        Err(error) => Some(format!("{AT_LEAST} should hold a number: {error}")),
    }
}

/// The command line, sorted by who gets what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Args {
    /// Parts of test names, for the test programs: they take several, cargo takes one.
    filters: Vec<String>,
    /// Options for cargo.
    options: Vec<String>,
    /// Arguments for the test programs.
    rest: Vec<String>,
}

impl Args {
    fn read(args: &[String]) -> Self {
        let mut parts = args.splitn(2, |arg| arg == "--");
        let own = parts.next().unwrap_or_default();
        let (options, filters) = own.iter().cloned().partition(|arg| arg.starts_with('-'));
        Self { filters, options, rest: parts.next().unwrap_or_default().to_vec() }
    }

    /// Tells whether all tests are to run.
    fn is_full(&self) -> bool {
        self == &Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Args {
        Args::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn names_options_and_the_rest_are_told_apart() {
        let args = read("killed --release settle -- --nocapture -- x");
        assert_eq!(args.filters, ["killed", "settle"]);
        assert_eq!(args.options, ["--release"]);
        assert_eq!(args.rest, ["--nocapture", "--", "x"]);
        assert!(!args.is_full());
        assert!(read("").is_full());
    }

    #[test]
    fn fewer_tests_than_the_committed_number_are_a_complaint() {
        let count = Count { passed: 9, failed: 1 };
        assert_eq!(too_few(count, "10\n"), None);
        assert!(too_few(count, "11").unwrap().contains("10 tests ran"));
        assert!(too_few(count, "many").unwrap().contains("should hold a number"));
    }
}
