//! A file as the rules see it, and what they say about it.

use std::fmt;

/// A text file of the repository.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// Path from the root, with forward slashes.
    pub(super) path: String,
    pub(super) text: String,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Breach {
    pub(super) path: String,
    /// Number of the line, from 1.
    pub(super) line: usize,
    pub(super) rule: String,
    pub(super) remedy: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.path, self.line, self.rule, self.remedy)
    }
}

impl File {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Tells whether this is the module `home` (a path without `.rs`) or a part of it.
    pub(super) fn is_in(&self, home: &str) -> bool {
        self.path.strip_prefix(home).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// Tells whether the file is one of tests' only, not of the product.
    pub(super) fn is_test(&self) -> bool {
        let suite = self.path.starts_with("tests/") && !self.is_in("tests/xtask");
        suite || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// Counts the lines that stand before the tests. Clippy sees to it that a file's tests are at its end.
    pub(super) fn product_lines(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let is_start = |index: &usize| {
            let mut rest = lines.iter().skip(*index);
            rest.next() == Some(&"#[cfg(test)]")
                && rest
                    .find(|line| !line.starts_with("#["))
                    .is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
        };
        (0..lines.len()).find(is_start).unwrap_or(lines.len())
    }

    /// Lines with their numbers, without those that are comments.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The rules themselves quote what they forbid.
    pub(super) fn quotes_the_forbidden(&self) -> bool {
        self.is_in("tests/xtask/src/tidy")
    }

    pub(super) fn breach(&self, line: usize, rule: &str, remedy: &str) -> Breach {
        Breach { path: self.path.clone(), line, rule: rule.to_owned(), remedy: remedy.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_ends_where_the_tests_begin() {
        let text = "fn a() {}\n\n#[cfg(test)]\n#[expect(x, reason = \"y\")]\nmod tests {\n}\n";
        assert_eq!(File::new("a.rs", text).product_lines(), 2);
        assert_eq!(File::new("a.rs", "#[cfg(test)]\nmod tests;\nfn a() {}\n").product_lines(), 3);
        assert_eq!(File::new("a.rs", "").product_lines(), 0);
    }

    #[test]
    fn tests_are_the_suite_and_modules_of_that_name() {
        for path in ["tests/src/a.rs", "host/src/db/tests.rs", "host/src/db/tests/a.rs"] {
            assert!(File::new(path, "").is_test(), "{path}");
        }
        assert!(!File::new("tests/xtask/src/run.rs", "").is_test());
        assert!(!File::new("host/src/db.rs", "").is_test());
    }

    #[test]
    fn a_module_is_its_file_and_its_folder() {
        assert!(File::new("host/src/db.rs", "").is_in("host/src/db"));
        assert!(File::new("host/src/db/pool.rs", "").is_in("host/src/db"));
        assert!(!File::new("host/src/dbx.rs", "").is_in("host/src/db"));
    }
}
