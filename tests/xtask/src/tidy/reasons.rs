//! An exception from a rule says why: `#[expect(lint, reason = "…")]`, `.expect("why it holds")`.

use super::source::{Breach, File};

const REMEDY: &str = "say why it holds here";

pub(super) fn every_expect_has_a_reason(files: &[File]) -> Vec<Breach> {
    let product =
        files.iter().filter(|file| file.is_rust() && !file.is_test() && !file.quotes_the_forbidden());
    product
        .flat_map(|file| {
            let product_lines = file.product_lines();
            let code: Vec<(usize, &str)> =
                file.code().take_while(|(line, _)| *line <= product_lines).collect();
            let found = code.iter().enumerate().filter_map(|(index, (line, text))| {
                let rest: String = code.iter().skip(index).map(|(_, text)| text.trim()).collect();
                let bad =
                    attribute_without_reason(text, &rest).or_else(|| call_without_reason(text, &rest))?;
                Some(file.breach(*line, bad, REMEDY))
            });
            found.collect::<Vec<_>>()
        })
        .collect()
}

/// `rest` is the code from this line on, joined.
fn attribute_without_reason(line: &str, rest: &str) -> Option<&'static str> {
    let line = line.trim_start();
    let is_exception =
        ["#[expect(", "#![expect(", "#[allow(", "#![allow("].iter().any(|start| line.starts_with(start));
    let attribute = rest.split(")]").next().unwrap_or(rest);
    (is_exception && !attribute.contains("reason = \"")).then_some("a lint is switched off without a reason")
}

fn call_without_reason(line: &str, rest: &str) -> Option<&'static str> {
    if !line.contains(".expect(") {
        return None;
    }
    let (_, argument) = rest.split_once(".expect(")?;
    let is_text = argument.starts_with('"') && !argument.starts_with("\"\"");
    (!is_text).then_some("`.expect(` without a reason in words")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(text: &str) -> usize {
        every_expect_has_a_reason(&[File::new("host/src/a.rs", text)]).len()
    }

    #[test]
    fn an_exception_without_a_reason_is_found() {
        assert_eq!(breaches("#[expect(clippy::panic)]\n#[x(reason = \"y\")]\nfn a() {}\n"), 1);
        assert_eq!(breaches("#![allow(dead_code)]\n"), 1);
        assert_eq!(breaches("a.expect(\"\");\n"), 1);
        assert_eq!(breaches("a.expect(&format!(\"x\"));\n"), 1);
    }

    #[test]
    fn an_exception_with_a_reason_is_fine() {
        assert_eq!(breaches("#[expect(clippy::panic, reason = \"x\")]\n"), 0);
        assert_eq!(breaches("#[expect(\n    clippy::panic,\n    reason = \"x\"\n)]\n"), 0);
        assert_eq!(breaches("a.expect(\n    \"the lock is ours\",\n);\n"), 0);
        assert_eq!(breaches("fn a() {}\n#[cfg(test)]\nmod tests {\n    a.expect(b);\n}\n"), 0);
    }
}
