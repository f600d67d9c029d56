//! Bans on what may not be committed: unfinished code, tests that do not run, tests that sleep instead of
//! waiting for a fact.

use super::source::{Breach, File};

const UNFINISHED: [(&str, &str); 4] = [
    ("todo!", "finish it, or leave it out"),
    ("unimplemented!", "finish it, or leave it out"),
    ("#[ignore", "assert what is true today, or fix it"),
    (", ignore)]", "assert what is true today, or fix it"),
];

const SLEEPS: [&str; 2] = ["sleep(", "sleep_until("];

/// Module in which waiting for a fact with a deadline is built; the pause between two looks is there.
const MAY_SLEEP: [&str; 1] = ["tests/src/wait"];

pub(super) fn nothing_unfinished_or_ignored(files: &[File]) -> Vec<Breach> {
    let rust = files.iter().filter(|file| file.is_rust() && !file.quotes_the_forbidden());
    rust.flat_map(|file| {
        file.code().filter_map(|(line, code)| {
            let (sign, remedy) = UNFINISHED.iter().find(|(sign, _)| code.contains(sign))?;
            Some(file.breach(line, &format!("`{sign}`"), remedy))
        })
    })
    .collect()
}

/// Guests of the tests may wait: they are there to behave badly.
pub(super) fn no_sleeping_tests(files: &[File]) -> Vec<Breach> {
    let awake = |file: &&File| {
        let exempt = file.is_in("tests/guests") || MAY_SLEEP.iter().any(|home| file.is_in(home));
        file.is_rust() && !exempt && !file.quotes_the_forbidden()
    };
    files
        .iter()
        .filter(awake)
        .flat_map(|file| {
            let tests_from = if file.is_test() { 0 } else { file.product_lines() };
            file.code().skip_while(move |(line, _)| *line <= tests_from).filter_map(|(line, code)| {
                let sign = SLEEPS.iter().find(|sign| calls(code, sign))?;
                Some(file.breach(line, &format!("`{sign}` in a test"), "wait for a fact with a deadline"))
            })
        })
        .collect()
}

/// Tells whether the sign stands there as a whole word: SQL's `pg_sleep(` makes the server wait, not the
/// test.
fn calls(code: &str, sign: &str) -> bool {
    let word = |sign: char| sign.is_alphanumeric() || sign == '_';
    code.match_indices(sign).any(|(at, _)| !code.get(..at).is_some_and(|before| before.ends_with(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_and_ignored_things_are_found() {
        for code in [
            "todo!()",
            "unimplemented!(\"later\")",
            "#[ignore]",
            "#[ignore = \"slow\"]",
            "#[cfg_attr(x, ignore)]",
        ] {
            assert_eq!(nothing_unfinished_or_ignored(&[File::new("host/src/a.rs", code)]).len(), 1, "{code}");
        }
        let comment = File::new("host/src/a.rs", "// no todo! here");
        assert!(nothing_unfinished_or_ignored(&[comment]).is_empty());
    }

    #[test]
    fn a_sleeping_test_is_found_in_the_suite_and_beside_the_code() {
        let sleeps = "std::thread::sleep(x);\n";
        let beside = format!("{sleeps}#[cfg(test)]\nmod tests {{\n    tokio::time::sleep(x).await;\n}}\n");
        let found =
            no_sleeping_tests(&[File::new("tests/src/a.rs", sleeps), File::new("host/src/a.rs", &beside)]);
        assert_eq!(found.iter().map(|breach| breach.line).collect::<Vec<_>>(), [1, 4]);
        assert!(no_sleeping_tests(&[File::new("tests/src/wait.rs", sleeps)]).is_empty());
        assert!(no_sleeping_tests(&[File::new("host/src/a.rs", sleeps)]).is_empty());
        assert!(no_sleeping_tests(&[File::new("tests/src/a.rs", "\"select pg_sleep(1)\"")]).is_empty());
    }
}
