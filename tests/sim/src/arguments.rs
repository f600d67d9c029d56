//! The command line.

use std::time::Duration;

use crate::run::{SUBJECTS, Subject};

/// Usage of the program.
pub(crate) const HELP: &str = "\
sim [--seed N] [--seeds K] [--steps M] [--time 60s] [--replay FILE] [--failures F] [--coverage]
    [--no-shrink] [--out FOLDER] [--jobs J] [--of handler|relay]
  runs seeds N, N + 1 and so on, K of them or for so long, with faults for M steps each; the first that
  breaks a promise is shrunk, shown, and kept as a file that --replay takes
sim model [NAME]
  tries every interleaving of small scenarios, or of those whose names begin so";

/// Arguments of a run of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    pub(crate) steps: u64,
    pub(crate) time: Option<Duration>,
    pub(crate) replay: Option<String>,
    /// The search ends with so many.
    pub(crate) failures: usize,
    pub(crate) coverage: bool,
    pub(crate) shrink: bool,
    /// Folder for seed files.
    pub(crate) out: String,
    pub(crate) jobs: usize,
    /// Subject of the runs; all subjects where none is given.
    pub(crate) of: Option<Subject>,
}

impl Arguments {
    pub(crate) fn read(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut read = Self {
            seed: 1,
            seeds: 0,
            steps: 400,
            time: None,
            replay: None,
            failures: 1,
            coverage: false,
            shrink: true,
            out: std::env::temp_dir().to_string_lossy().into_owned(),
            jobs: usize::MAX,
            of: None,
        };
        while let Some(name) = given.next() {
            match name.as_str() {
                "--coverage" => read.coverage = true,
                "--no-shrink" => read.shrink = false,
                "--seed" => read.seed = number(&name, given.next())?,
                "--seeds" => read.seeds = number(&name, given.next())?,
                "--steps" => read.steps = number(&name, given.next())?,
                "--failures" => read.failures = number(&name, given.next())?,
                "--jobs" => read.jobs = number(&name, given.next())?,
                "--replay" => read.replay = Some(given.next().ok_or("--replay needs a file")?),
                "--out" => read.out = given.next().ok_or("--out needs a folder")?,
                "--of" => {
                    let text = given.next().unwrap_or_default();
                    let of = SUBJECTS.into_iter().find(|subject| subject.to_string() == text);
                    read.of = Some(of.ok_or("--of needs `handler` or `relay`")?);
                }
                "--time" => {
                    let text = given.next().ok_or("--time needs a duration such as 60s")?;
                    let time = humantime::parse_duration(&text);
                    read.time = Some(time.map_err(|error| format!("{text} is no duration: {error}"))?);
                }
                other => return Err(format!("`{other}` is not known")),
            }
        }
        if read.seeds == 0 {
            read.seeds = if read.time.is_some() { u64::MAX } else { 1 };
        }
        Ok(read)
    }

    pub(crate) fn is_about(&self, subject: Subject) -> bool {
        self.of.is_none_or(|of| of == subject)
    }
}

fn number<T: std::str::FromStr>(name: &str, given: Option<String>) -> Result<T, String> {
    let text = given.ok_or_else(|| format!("{name} needs a number"))?;
    text.parse().map_err(|_| format!("{name} needs a number, not {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, String> {
        Arguments::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_time_without_a_count_runs_as_many_seeds_as_fit() {
        let given = read("--seed 5 --time 60s").unwrap();
        assert_eq!((given.seed, given.seeds, given.time), (5, u64::MAX, Some(Duration::from_secs(60))));
        assert_eq!(read("").unwrap().seeds, 1);
        for wrong in ["--seed", "--seed x", "--time 5", "nothing"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
