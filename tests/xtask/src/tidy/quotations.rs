//! The page of errors quotes what the host says, word for word: whoever searches it for a line finds it.

use super::source::{Breach, File};

const PAGE: &str = "docs/errors.md";

pub(super) fn errors_are_quoted_as_they_are_said(files: &[File]) -> Vec<Breach> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else { return Vec::new() };
    let product =
        files.iter().filter(|file| file.is_rust() && file.path.starts_with("host/") && !file.is_test());
    let said: String = product.map(as_said).collect();
    let mut breaches = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        for quoted in quotations(line) {
            let mut parts = quoted.split('…').map(|part| part.trim_matches([' ', ':', ';', ',', '.']));
            if let Some(part) = parts.find(|part| !said.contains(part)) {
                let rule = format!("`{part}`, which the host does not say");
                breaches.push(page.breach(index + 1, &rule, "quote it as it is said now, or drop the row"));
            }
        }
    }
    breaches
}

/// Gives what a line quotes: all code in the first cell of a row, and elsewhere what has gaps for names and numbers.
fn quotations(line: &str) -> impl Iterator<Item = &str> {
    let first = line.strip_prefix("| ").and_then(|row| row.split(" | ").next()).unwrap_or_default();
    code(first).chain(code(line).filter(|code| code.contains('…')))
}

fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Gives the product's text with its literals as they come out: those that go on over lines in one.
fn as_said(file: &File) -> String {
    let mut said = String::with_capacity(file.text.len());
    let mut goes_on = false;
    for line in file.text.lines().take(file.product_lines()) {
        let line = if goes_on { line.trim_start() } else { line };
        goes_on = line.ends_with('\\');
        said.push_str(line.trim_end_matches('\\'));
        if !goes_on {
            said.push('\n');
        }
    }
    said.replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_says_is_found_in_first_cells_and_where_it_has_gaps() {
        let host = File::new(
            "host/src/a.rs",
            "warn!(\"Lane {lane} is \\\n    gone for {since:?}: set a = \\\"b\\\"\");\n#[cfg(test)]\nmod tests {\n    \"only here\"\n}\n",
        );
        let page = |text: &str| [host.clone(), File::new("docs/errors.md", text)];
        let good = "Elsewhere `anything`.\n| `Lane … is gone for …` | `anything` |\n| `set a = \"b\"` |\n`Lane … is gone`";
        assert_eq!(errors_are_quoted_as_they_are_said(&page(good)), []);
        for bad in ["| `Lane … went` | |", "| a | `Lane … went` |", "| `only here` | |", "`Lanes … is gone`"]
        {
            assert_eq!(errors_are_quoted_as_they_are_said(&page(&format!("\n{bad}")))[0].line, 2, "{bad}");
        }
    }
}
