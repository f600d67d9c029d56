//! Arguments of the demo.

/// The usage.
pub(crate) const HELP: &str = "\
Shows mailroom at work: an application writes orders, handlers turn them into invoices and parcels,
one handler is replaced meanwhile. Ends with a summary that was checked against database and topics.

Usage: cargo xtask demo [--orders N] [--break lose|repeat|reorder] [--keep]

  --orders N     How many orders, 20 to 20000; 500 by default
  --break HOW    Tamper with rows or a topic before the check, which must then fail
  --keep         Leave everything running after the summary, until Ctrl-C
  --help         This text

Exit codes:
  0  the check holds
  1  it does not, or the demo could not be shown
  2  wrong usage";

const ORDERS: std::ops::RangeInclusive<u32> = 20..=20_000;

/// Request of the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Help,
    Run(Args),
}

/// Choice of how it is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) orders: u32,
    pub(crate) tampering: Option<Tampering>,
    pub(crate) keep: bool,
}

/// Damage that is done before the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tampering {
    Lose,
    Repeat,
    Reorder,
}

impl Tampering {
    const ALL: [Self; 3] = [Self::Lose, Self::Repeat, Self::Reorder];

    /// Returns the word by which the option names it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Lose => "lose",
            Self::Repeat => "repeat",
            Self::Reorder => "reorder",
        }
    }
}

/// Reads the arguments; the error says what is wrong and what is allowed.
pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut args = Args { orders: 500, tampering: None, keep: false };
    while let Some(word) = given.next() {
        match word.as_str() {
            "--help" | "-h" => return Ok(Asked::Help),
            "--keep" => args.keep = true,
            "--orders" => args.orders = orders(&given.next().unwrap_or_default())?,
            "--break" => args.tampering = Some(tampering(&given.next().unwrap_or_default())?),
            other => return Err(format!("`{other}` is no option of the demo")),
        }
    }
    Ok(Asked::Run(args))
}

fn orders(value: &str) -> Result<u32, String> {
    let wrong = || format!("--orders `{value}`: must be from {} to {}", ORDERS.start(), ORDERS.end());
    value.parse().ok().filter(|count| ORDERS.contains(count)).ok_or_else(wrong)
}

fn tampering(value: &str) -> Result<Tampering, String> {
    let found = Tampering::ALL.into_iter().find(|tampering| tampering.word() == value);
    found.ok_or_else(|| format!("--break `{value}`: must be lose, repeat or reorder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Asked, String> {
        parse(words.iter().map(|&word| word.to_owned()))
    }

    #[test]
    fn options_are_read_and_wrong_ones_named() {
        assert_eq!(parsed(&[]), Ok(Asked::Run(Args { orders: 500, tampering: None, keep: false })));
        let all = Args { orders: 50, tampering: Some(Tampering::Repeat), keep: true };
        assert_eq!(parsed(&["--keep", "--orders", "50", "--break", "repeat"]), Ok(Asked::Run(all)));
        assert_eq!(parsed(&["--keep", "-h"]), Ok(Asked::Help));
        for wrong in [&["--orders", "3"][..], &["--orders"], &["--break", "all"], &["--brake"]] {
            let error = parsed(wrong).unwrap_err();
            assert!(error.contains(wrong.last().unwrap()), "{error}");
        }
    }
}
