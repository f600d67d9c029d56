//! Counts tests from what the test programs print: each ends with a line of totals.

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
}
