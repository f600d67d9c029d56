//! Results for CI, as JUnit writes them.

use std::path::Path;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Verdict;
use crate::cli::failure::Failure;

/// Writes the file.
pub(super) fn write(file: &Path, handler: &str, verdicts: &[Verdict]) -> Result<(), Failure> {
    let mut suite = TestSuite::new(handler);
    for verdict in verdicts {
        let status = if verdict.wrong.is_empty() {
            TestCaseStatus::success()
        } else {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_description(verdict.wrong.join("\n"));
            status
        };
        let mut case = TestCase::new(verdict.name.as_str(), status);
        case.set_classname(handler).set_time(verdict.took);
        suite.add_test_case(case);
    }
    let mut report = Report::new("mailroom handler test");
    report.add_test_suite(suite);
    let text = report
        .to_string()
        .map_err(|error| Failure::Host(format!("the results cannot be written: {error}")))?;
    std::fs::write(file, text).map_err(|error| Failure::Host(format!("{}: {error}", file.display())))
}
