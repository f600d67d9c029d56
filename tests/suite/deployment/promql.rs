//! Reads of an expression in PromQL which metrics and labels it asks for. Whether it is one judges promtool.

use anyhow::{Context as _, Result, bail, ensure};

/// Words before a list of labels.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "atan2"];

/// A metric that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) metric: String,
    /// Labels and what each has to be, with the sign between them.
    pub(super) matchers: Vec<(String, String)>,
}

/// Request of an expression.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expression {
    pub(super) selectors: Vec<Selector>,
    /// Labels by which it groups or joins.
    pub(super) labels: Vec<String>,
}

impl Expression {
    /// Reads an expression.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut read = Self::default();
        let mut rest = text.trim_start();
        while let Some(sign) = rest.chars().next() {
            rest = match sign {
                '"' => behind_string(rest)?.1,
                '[' => rest.split_once(']').context("a range without an end")?.1,
                '{' => bail!("a selector without a metric"),
                sign if sign.is_ascii_digit() => {
                    rest.trim_start_matches(|sign: char| sign.is_ascii_alphanumeric() || sign == '.')
                }
                sign if is_of_name(sign) => read.word(rest)?,
                sign => rest.get(sign.len_utf8()..).unwrap_or_default(),
            }
            .trim_start();
        }
        Ok(read)
    }

    fn word<'t>(&mut self, text: &'t str) -> Result<&'t str> {
        let (word, rest) = name(text);
        let rest = rest.trim_start();
        if BEFORE_LABELS.contains(&word) {
            let Some(list) = rest.strip_prefix('(') else { return Ok(rest) };
            let (labels, rest) = list.split_once(')').context("a list of labels without an end")?;
            let labels = labels.split(',').map(str::trim).filter(|label| !label.is_empty());
            self.labels.extend(labels.map(str::to_owned));
            return Ok(rest);
        }
        let is_called = rest.starts_with('(') || ["by", "without"].contains(&name(rest).0);
        if OPERATORS.contains(&word) || is_called {
            return Ok(rest);
        }
        let (matchers, rest) = match rest.strip_prefix('{') {
            Some(list) => matchers(list)?,
            None => (Vec::new(), rest),
        };
        self.selectors.push(Selector { metric: word.to_owned(), matchers });
        Ok(rest)
    }
}

fn is_of_name(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_' || sign == ':'
}

fn name(text: &str) -> (&str, &str) {
    text.split_at(text.find(|sign| !is_of_name(sign)).unwrap_or(text.len()))
}

/// A string in quotation marks, without escapes, and what comes behind it.
fn behind_string(text: &str) -> Result<(&str, &str)> {
    let (string, rest) =
        text.strip_prefix('"').and_then(|text| text.split_once('"')).context("no string with an end")?;
    ensure!(!string.contains('\\'), "an escape, which nothing here reads");
    Ok((string, rest))
}

/// Matchers up to their closing brace, and what comes behind it.
fn matchers(mut text: &str) -> Result<(Vec<(String, String)>, &str)> {
    let mut matchers = Vec::new();
    loop {
        text = text.trim_start_matches(|sign: char| sign.is_whitespace() || sign == ',');
        if let Some(rest) = text.strip_prefix('}') {
            return Ok((matchers, rest));
        }
        let (label, rest) = name(text);
        ensure!(!label.is_empty(), "no label in {text:?}");
        let (sign, rest) = rest.split_at(rest.find('"').context("a matcher without a value")?);
        ensure!(["=", "!=", "=~", "!~"].contains(&sign.trim()), "{sign:?} compares nothing");
        let (value, rest) = behind_string(rest)?;
        matchers.push((label.to_owned(), format!("{}{value}", sign.trim())));
        text = rest;
    }
}

#[test]
fn metrics_matchers_and_labels_are_read_and_functions_are_none() {
    let text = "histogram_quantile(0.99, sum by (le, handler_name) (rate(a_bucket{x=\"1\", y!~\"b|c\"}[$__rate_interval]))) \
                > 1e-3 and on () (max_over_time(b[15m] offset 15m) or 0 * c) unless ignoring (state) d{} == 1";
    let read = Expression::read(text).unwrap();
    let metrics: Vec<&str> = read.selectors.iter().map(|selector| selector.metric.as_str()).collect();
    assert_eq!(metrics, ["a_bucket", "b", "c", "d"]);
    let matchers = [("x", "=1"), ("y", "!~b|c")].map(|(label, value)| (label.to_owned(), value.to_owned()));
    assert_eq!(read.selectors.first().map(|first| first.matchers.as_slice()), Some(&matchers[..]));
    assert_eq!(read.labels, ["le", "handler_name", "state"]);
    for wrong in ["{job=\"x\"}", "a{b=\"c}", "a{b}", "sum by (x a", "a[5m"] {
        assert!(Expression::read(wrong).is_err(), "{wrong}");
    }
}
