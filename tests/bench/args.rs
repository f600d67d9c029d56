//! Arguments of the benchmark.

/// The usage.
pub(crate) const HELP: &str = "\
Measures mailroom beside floors: minimal programs that do only what cannot be left out, on the same
tables, in the same run. Prints one table.

Usage: cargo xtask bench [--messages N] [--only SCENARIO] [--json] [--write]

  --messages N      How many messages a run has, 1000 to 1000000; 100000 by default
  --only SCENARIO   relay, producers, handled, metrics, drain, blocked, latency, idle, neighbour,
                    reload, call, or languages, which is no part of a full run: it needs their toolchains
                    (cargo xtask install --languages)
  --json            The figures as JSON instead of the table
  --write           Put the table into docs/benchmark.md as well, of a full run, or into
                    docs/languages.md, of languages
  --help            This text

Exit codes:
  0  measured, whatever the figures are
  1  could not be measured
  2  wrong usage";

const MESSAGES: std::ops::RangeInclusive<u32> = 1_000..=1_000_000;

/// Request of the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Help,
    Run(Args),
}

/// Choice of what to measure, and where the figures go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) messages: u32,
    /// `None` is all.
    pub(crate) only: Option<Scenario>,
    pub(crate) form: Form,
    pub(crate) write: bool,
}

/// Form in which the figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Table,
    Json,
}

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Relay,
    Producers,
    Handled,
    Metrics,
    Drain,
    Blocked,
    Latency,
    Idle,
    Neighbour,
    Reload,
    Call,
    Languages,
}

impl Scenario {
    /// Scenarios of a full run.
    pub(crate) const ALL: [Self; 11] = [
        Self::Relay,
        Self::Producers,
        Self::Handled,
        Self::Metrics,
        Self::Drain,
        Self::Blocked,
        Self::Latency,
        Self::Idle,
        Self::Neighbour,
        Self::Reload,
        Self::Call,
    ];

    /// Returns the word by which the option names it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Producers => "producers",
            Self::Handled => "handled",
            Self::Metrics => "metrics",
            Self::Drain => "drain",
            Self::Blocked => "blocked",
            Self::Latency => "latency",
            Self::Idle => "idle",
            Self::Neighbour => "neighbour",
            Self::Reload => "reload",
            Self::Call => "call",
            Self::Languages => "languages",
        }
    }
}

/// Reads the arguments; the error says what is wrong and what is allowed.
pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut args = Args { messages: 100_000, only: None, form: Form::Table, write: false };
    while let Some(word) = given.next() {
        match word.as_str() {
            "--help" | "-h" => return Ok(Asked::Help),
            "--messages" => args.messages = messages(&given.next().unwrap_or_default())?,
            "--only" => args.only = Some(scenario(&given.next().unwrap_or_default())?),
            "--json" => args.form = Form::Json,
            "--write" => args.write = true,
            other => return Err(format!("`{other}` is no option of the benchmark")),
        }
    }
    if args.write && args.only.is_some_and(|only| only != Scenario::Languages) {
        return Err("--write wants all scenarios: leave --only out".to_owned());
    }
    Ok(Asked::Run(args))
}

fn messages(value: &str) -> Result<u32, String> {
    let wrong = || format!("--messages `{value}`: must be from {} to {}", MESSAGES.start(), MESSAGES.end());
    value.parse().ok().filter(|count| MESSAGES.contains(count)).ok_or_else(wrong)
}

fn scenario(value: &str) -> Result<Scenario, String> {
    let mut all = Scenario::ALL.into_iter().chain([Scenario::Languages]);
    let found = all.find(|scenario| scenario.word() == value);
    let words = || Scenario::ALL.map(Scenario::word).join(", ") + " or languages";
    found.ok_or_else(|| format!("--only `{value}`: must be one of {}", words()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Asked, String> {
        parse(words.iter().map(|&word| word.to_owned()))
    }

    #[test]
    fn options_are_read_and_wrong_ones_named() {
        let plain = Args { messages: 100_000, only: None, form: Form::Table, write: false };
        assert_eq!(parsed(&[]), Ok(Asked::Run(plain)));
        let some = Args { messages: 2000, only: Some(Scenario::Drain), form: Form::Json, ..plain };
        assert_eq!(parsed(&["--json", "--messages", "2000", "--only", "drain"]), Ok(Asked::Run(some)));
        assert_eq!(parsed(&["--write"]), Ok(Asked::Run(Args { write: true, ..plain })));
        assert_eq!(parsed(&["-h"]), Ok(Asked::Help));
        for wrong in [&["--messages", "3"][..], &["--messages"], &["--only", "all"], &["--fast"]] {
            let error = parsed(wrong).unwrap_err();
            assert!(error.contains(wrong.last().unwrap()), "{error}");
        }
        assert!(parsed(&["--only", "idle", "--write"]).unwrap_err().contains("--write"));
    }
}
