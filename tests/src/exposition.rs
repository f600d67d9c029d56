//! Prometheus' text format, read as strictly as it is defined: whatever a scraper might stumble over is an error.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};

/// Labels of a series.
pub type Labels = BTreeMap<String, String>;

/// Result of one scrape.
#[derive(Debug, Clone, Default)]
pub struct Exposition {
    types: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Reads a scrape.
    ///
    /// # Errors
    /// Names the line, or the series, that is not as it has to be.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(text.ends_with('\n'), "the last line has no end");
        let (mut read, mut helped, mut family) = (Self::default(), BTreeSet::new(), String::new());
        for line in text.lines() {
            let done = match line.strip_prefix("# ") {
                Some(comment) => read.comment(comment, &mut helped, &mut family),
                None => read.sample(line, &family),
            };
            done.with_context(|| format!("in the line {line:?}"))?;
        }
        ensure!(read.types.keys().all(|name| helped.contains(name)), "a family has no help");
        read.check_histograms()?;
        Ok(read)
    }

    /// Names of all families.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }

    /// The sum of all series of this name that have these labels; `None` where there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |series: &Labels| {
            labels.iter().all(|&(key, value)| series.get(key).is_some_and(|is| is == value))
        };
        let found = self.samples.iter().filter(|((of, series), _)| of == name && has(series));
        found.map(|(_, value)| *value).reduce(|sum, value| sum + value)
    }

    fn comment(&mut self, comment: &str, helped: &mut BTreeSet<String>, family: &mut String) -> Result<()> {
        let mut words = comment.splitn(3, ' ');
        let (kind, name, rest) =
            (words.next(), words.next().context("no name")?, words.next().context("no text")?);
        match kind {
            Some("HELP") => {
                ensure!(!rest.trim().is_empty(), "an empty help");
                ensure!(helped.insert(name.to_owned()), "a second help");
            }
            Some("TYPE") => {
                ensure!(["counter", "gauge", "histogram"].contains(&rest), "an unknown type");
                ensure!(is_name(name), "not a name");
                ensure!(
                    (rest == "counter") == name.ends_with("_total"),
                    "counters end in _total, others do not"
                );
                ensure!(
                    self.types.insert(name.to_owned(), rest.to_owned()).is_none(),
                    "the family is torn apart"
                );
                name.clone_into(family);
            }
            _ => bail!("neither help nor type"),
        }
        Ok(())
    }

    fn sample(&mut self, line: &str, family: &str) -> Result<()> {
        let end = line.find(['{', ' ']).context("no value")?;
        let (name, rest) = line.split_at(end);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Labels::new(), rest),
        };
        let of_family = match self.types.get(family).map(String::as_str) {
            Some("histogram") => {
                ["_bucket", "_sum", "_count"].map(|end| format!("{family}{end}")).contains(&name.to_owned())
            }
            Some(_) => name == family,
            None => false,
        };
        ensure!(of_family, "it stands below the family {family:?}");
        let value = value.strip_prefix(' ').context("no space before the value")?;
        let value: f64 = value.parse().context("not a number")?;
        ensure!(value.is_finite(), "no number that was measured");
        ensure!(self.samples.insert((name.to_owned(), labels), value).is_none(), "a series twice");
        Ok(())
    }

    /// Buckets add up: they rise with their bounds to the count of all.
    fn check_histograms(&self) -> Result<()> {
        let mut buckets: BTreeMap<(&str, Labels), Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), value) in &self.samples {
            if let (Some(family), Some(bound)) = (name.strip_suffix("_bucket"), labels.get("le")) {
                let mut of = labels.clone();
                of.remove("le");
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse()? };
                buckets.entry((family, of)).or_default().push((bound, *value));
            }
        }
        for ((family, of), mut counts) in buckets {
            counts.sort_by(|(one, _), (other, _)| one.total_cmp(other));
            ensure!(counts.is_sorted_by_key(|(_, count)| *count), "{family} {of:?}: buckets fall");
            let count = self.samples.get(&(format!("{family}_count"), of.clone()));
            let (bound, all) = counts.last().copied().unwrap_or_default();
            ensure!(
                bound.is_infinite() && count == Some(&all),
                "{family} {of:?}: the last bucket is not the count"
            );
            ensure!(
                self.samples.contains_key(&(format!("{family}_sum"), of.clone())),
                "{family} {of:?}: no sum"
            );
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let mut signs = name.chars();
    signs.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && signs.all(|sign| sign.is_ascii_alphanumeric() || sign == '_')
}

/// Labels up to their closing brace, and what comes after it.
fn labels(mut rest: &str) -> Result<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        let (name, quoted) = rest.split_once("=\"").context("a label without a value")?;
        ensure!(is_name(name), "{name:?} is no label");
        let (value, after) = unquoted(quoted)?;
        ensure!(labels.insert(name.to_owned(), value).is_none(), "the label {name} twice");
        if let Some(end) = after.strip_prefix('}') {
            return Ok((labels, end));
        }
        rest = after.strip_prefix(',').context("no comma between labels")?;
    }
}

/// A label's value up to its quotation mark, and what comes after that.
fn unquoted(quoted: &str) -> Result<(String, &str)> {
    let (mut value, mut signs) = (String::new(), quoted.char_indices());
    while let Some((at, sign)) = signs.next() {
        match sign {
            '"' => return Ok((value, quoted.get(at + 1..).unwrap_or_default())),
            '\\' => value.push(match signs.next() {
                Some((_, 'n')) => '\n',
                Some((_, sign @ ('\\' | '"'))) => sign,
                _ => bail!("an escape that means nothing"),
            }),
            sign => value.push(sign),
        }
    }
    bail!("a value without an end")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP a_seconds How long.\n# TYPE a_seconds histogram\n\
                        a_seconds_bucket{le=\"0.5\",of=\"x\\\"y\"} 1\na_seconds_bucket{le=\"+Inf\",of=\"x\\\"y\"} 3\n\
                        a_seconds_sum{of=\"x\\\"y\"} 4.5\na_seconds_count{of=\"x\\\"y\"} 3\n\
                        # HELP b_total How many.\n# TYPE b_total counter\nb_total 7\n";

    #[test]
    fn a_good_scrape_is_read() {
        let read = Exposition::parse(GOOD).unwrap();
        assert_eq!(read.families().collect::<Vec<_>>(), ["a_seconds", "b_total"]);
        assert_eq!(read.sum("a_seconds_count", &[("of", "x\"y")]), Some(3.0));
        assert_eq!((read.sum("b_total", &[]), read.sum("b_total", &[("of", "z")])), (Some(7.0), None));
    }

    #[test]
    fn what_a_scraper_would_stumble_over_is_refused() {
        for (good, bad) in [
            ("b_total 7\n", "b_total 7"),
            ("b_total 7\n", "b_total 7\nb_total 7\n"),
            ("b_total 7\n", "b_total NaN\n"),
            ("b_total 7\n", "c_total 7\n"),
            ("# HELP b_total How many.\n", ""),
            ("# TYPE b_total counter\n", "# TYPE b_total gauge\n"),
            ("of=\"x\\\"y\"} 1\n", "of=\"x\\\"y\"} 4\n"),
            ("a_seconds_count{of=\"x\\\"y\"} 3", "a_seconds_count{of=\"x\\\"y\"} 2"),
            ("a_seconds_sum{of=\"x\\\"y\"} 4.5\n", ""),
            ("le=\"0.5\",of", "of=\"\",of"),
            ("a_seconds_sum{of=\"x\\\"y\"}", "a_seconds_sum{of=\"x\\ty\"}"),
        ] {
            assert!(GOOD.contains(good), "{good}");
            assert!(Exposition::parse(&GOOD.replacen(good, bad, 1)).is_err(), "{good} as {bad}");
        }
    }
}
