//! Fuzzing: the targets in `host/src/fuzz` for longer than an ordinary run of the tests gives them.

use std::time::Duration;

use crate::guests;
use crate::run::{Result, command, finish};

/// The modules of `host/src/fuzz` with tests in them.
const TARGETS: [&str; 8] =
    ["answers", "config", "decoding", "headers", "loader", "manifests", "subscriptions", "terminal"];
const TIME: Duration = Duration::from_secs(60);

/// Runs one target or all, as many at once as there are processors.
pub(crate) fn run(args: &[String]) -> Result {
    let Args { target, time } = Args::read(args)?;
    guests::build()?;
    // With the packages of the tests, so that dependencies are compiled with the same features once.
    let mut test = command("cargo", &["test", "--workspace", "--exclude", "xtask", "--lib", "--"])?;
    test.arg(format!("fuzz::{target}"));
    test.env("SQLX_OFFLINE", "true");
    test.env("BOLERO_RANDOM_TEST_TIME_MS", time.as_millis().to_string());
    finish(test)
}

#[derive(Debug, PartialEq, Eq)]
struct Args {
    /// Empty for all.
    target: String,
    /// Time for each test of a target.
    time: Duration,
}

impl Args {
    fn read(args: &[String]) -> Result<Self> {
        let mut read = Self { target: String::new(), time: TIME };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--time" => {
                    let given = args.next().ok_or("--time needs a duration such as 60s, 10m or 2h")?;
                    read.time = duration(given)
                        .ok_or_else(|| format!("{given} is no duration such as 60s, 10m or 2h"))?;
                }
                target if TARGETS.contains(&target) => read.target = format!("{target}::"),
                other => {
                    return Err(format!("`{other}` is no target; there are {}", TARGETS.join(", ")).into());
                }
            }
        }
        Ok(read)
    }
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let secs = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
    count.checked_mul(secs).filter(|secs| *secs > 0).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args> {
        Args::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_target_and_a_time_may_be_given() {
        assert_eq!(read("").unwrap(), Args { target: String::new(), time: TIME });
        let given = read("headers --time 10m").unwrap();
        assert_eq!((given.target.as_str(), given.time), ("headers::", Duration::from_secs(600)));
        for wrong in ["nothing", "--time", "--time 5", "--time 0s"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
