//! Length of files, without their tests. About 120 lines is the aim, 500 the end.

use super::source::{Breach, File};

const LINES_MAX: usize = 500;

pub(super) fn no_long_files(files: &[File]) -> Vec<Breach> {
    let long = files.iter().filter(|file| file.is_rust() && file.product_lines() > LINES_MAX);
    long.map(|file| {
        let rule = format!("{} lines without tests, {LINES_MAX} are allowed", file.product_lines());
        file.breach(LINES_MAX + 1, &rule, "split it by what its parts do")
    })
    .collect()
}

/// One line about all Rust files.
pub(super) fn summary(files: &[File]) -> String {
    let rust = files.iter().filter(|file| file.is_rust());
    let mut sizes: Vec<(usize, &str)> = rust.map(|file| (file.product_lines(), file.path.as_str())).collect();
    sizes.sort_unstable();
    let at =
        |percent: usize| sizes.get(sizes.len().saturating_sub(1) * percent / 100).map_or(0, |size| size.0);
    let (longest, path) = sizes.last().copied().unwrap_or_default();
    let (count, median, p90) = (sizes.len(), at(50), at(90));
    format!("{count} Rust files; lines without tests: median {median}, p90 {p90}, max {longest} ({path})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let long = "fn a() {}\n".repeat(501);
        assert_eq!(no_long_files(&[File::new("a.rs", &long)]).len(), 1);
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{long}}}\n", "fn a() {}\n".repeat(500));
        assert!(no_long_files(&[File::new("a.rs", &tested)]).is_empty());
        assert!(no_long_files(&[File::new("a.sql", &long)]).is_empty());
    }

    #[test]
    fn the_summary_names_the_longest_file() {
        let files = [File::new("a.rs", "1\n"), File::new("b.rs", "1\n2\n3\n"), File::new("c.rs", "1\n2\n")];
        assert!(summary(&files).ends_with("median 2, p90 2, max 3 (b.rs)"), "{}", summary(&files));
    }
}
