//! Counts tests from what the test programs print, each of which ends with a line of totals, and keeps why
//! each failed one did.

/// Tests that ran, by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Count {
    /// Adds what a line tells, if it is a line of totals.
    pub(crate) fn add(&mut self, line: &str) {
        if let Some(count) = totals(line) {
            self.passed += count.passed;
            self.failed += count.failed;
        }
    }
}

/// Tests that failed, each with the first line of its panic, so that nobody has to look for it between logs.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    reasons: Vec<String>,
    /// The test whose output is passing by.
    test: Option<String>,
    /// Tells whether the line before said that a thread panicked.
    panicked: bool,
}

impl Failures {
    /// Reads `---- NAME stdout ----`, `thread 'NAME' (1) panicked at src/lib.rs:1:1:` and the line after it.
    pub(crate) fn add(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            self.test = Some(name.to_owned());
        } else if self.panicked
            && let Some(test) = self.test.take()
        {
            self.reasons.push(format!("{test}: {line}"));
        }
        self.panicked = line.contains("panicked at ") && line.ends_with(':');
    }

    /// Returns `NAME: why` of each, in the order in which they were printed.
    pub(crate) fn into_reasons(self) -> Vec<String> {
        self.reasons
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; …`.
fn totals(line: &str) -> Option<Count> {
    let (_, numbers) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let mut parts = numbers.split("; ");
    let passed = parts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = parts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some(Count { passed, failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_totals_are_counted() {
        let mut count = Count::default();
        count.add("running 4 tests");
        count.add(
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s",
        );
        count.add("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        count.add("he said: test result: ok. 9 passed; 9 failed;");
        count.add("test result: ok");
        assert_eq!(count, Count { passed: 5, failed: 1 });
    }

    #[test]
    fn each_failure_is_told_with_the_first_line_of_its_panic() {
        let mut failures = Failures::default();
        let output = "test a::b ... FAILED
---- a::b stdout ----
world /tmp/w
/tmp/w/a.log:
    DEBUG a task panicked at noon

thread 'a::b' (71) panicked at tests/src/in_world.rs:50:9:
a lost race cost an attempt
note: run with `RUST_BACKTRACE=1`

---- c stdout ----

thread 'c' (72) panicked at src/c.rs:1:1:
assertion failed
thread 'c' (73) panicked at src/c.rs:2:1:
another of the same test";
        output.lines().for_each(|line| failures.add(line));
        assert_eq!(failures.into_reasons(), ["a::b: a lost race cost an attempt", "c: assertion failed"]);
    }
}
