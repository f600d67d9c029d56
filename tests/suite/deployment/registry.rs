//! The metrics that a host tells, with their labels: those of the table of `docs/operations.md`, which tests of metrics
//! compare with what a scrape gives.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

use super::promql::Expression;
use super::text;

/// Labels that Prometheus gives to whatever it scrapes.
const OF_THE_TARGET: [&str; 2] = ["job", "instance"];

/// Names of series in Prometheus, and the labels of each.
#[derive(Debug)]
pub(super) struct Registry(BTreeMap<String, BTreeSet<String>>);

impl Registry {
    /// Reads the table, and of the program which of its instruments are histograms.
    pub(super) fn read() -> Result<Self> {
        let (table, source) = (text("docs/operations.md")?, text("host/src/metrics/definitions.rs")?);
        let rows = table
            .lines()
            .filter(|line| line.starts_with("| `messaging.") || line.starts_with("| `mailroom."));
        let mut names = BTreeMap::new();
        for row in rows {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let [name, prometheus, _, attributes, _] = cells.as_slice() else {
                anyhow::bail!("a row of five cells is expected: {row}")
            };
            let (name, prometheus) = (name.trim_matches('`'), prometheus.trim_matches('`'));
            let attributes = attributes.split(", ").map(|name| name.trim_matches('`').replace('.', "_"));
            let labels = attributes.filter(|name| name != "–").chain(OF_THE_TARGET.map(str::to_owned));
            let mut labels: BTreeSet<String> = labels.collect();
            let declared = source.split_once(&format!("= \"{name}\","));
            let declared = declared.and_then(|(_, rest)| rest.lines().next());
            if !declared.with_context(|| format!("{name} is not declared"))?.contains(" Histogram(") {
                names.insert(prometheus.to_owned(), labels);
                continue;
            }
            for end in ["sum", "count"] {
                names.insert(format!("{prometheus}_{end}"), labels.clone());
            }
            labels.insert("le".to_owned());
            names.insert(format!("{prometheus}_bucket"), labels);
        }
        ensure!(names.len() > 40, "few metrics: {names:?}");
        // Prometheus' own, of each target.
        names.insert("up".to_owned(), OF_THE_TARGET.map(str::to_owned).into());
        Ok(Self(names))
    }

    /// Names what an expression asks for that no host tells.
    pub(super) fn unknown(&self, expression: &Expression) -> Vec<String> {
        let mut unknown = Vec::new();
        let mut labels = BTreeSet::new();
        for selector in &expression.selectors {
            let Some(known) = self.0.get(&selector.metric) else {
                unknown.push(format!("the metric {}", selector.metric));
                continue;
            };
            let foreign = selector.matchers.iter().filter(|(label, _)| !known.contains(label));
            unknown.extend(foreign.map(|(label, _)| format!("the label {label} of {}", selector.metric)));
            labels.extend(known);
        }
        let foreign = expression.labels.iter().filter(|label| !labels.contains(label));
        unknown.extend(foreign.map(|label| format!("the label {label}")));
        unknown
    }

    /// True where one of the metrics that are asked for has the label.
    pub(super) fn has_label(&self, expression: &Expression, label: &str) -> bool {
        let mut metrics = expression.selectors.iter().filter_map(|selector| self.0.get(&selector.metric));
        metrics.any(|labels| labels.contains(label))
    }
}

#[test]
fn a_metric_or_a_label_that_no_host_tells_is_named() -> Result<()> {
    let registry = Registry::read()?;
    let unknown = |text: &str| Expression::read(text).map(|read| registry.unknown(&read));
    let good = "sum by (le, handler_name) (rate(mailroom_handler_duration_seconds_bucket{outcome=\"fault\"}[5m])) > 0";
    assert_eq!(unknown(good)?, [""; 0]);
    for (wrong, named) in [
        ("mailroom_handler_duration_seconds", "the metric mailroom_handler_duration_seconds"),
        ("mailroom_lanes_total", "the metric mailroom_lanes_total"),
        ("mailroom_lanes{handler_name=\"a\"}", "the label handler_name of mailroom_lanes"),
        ("sum by (le) (mailroom_lanes)", "the label le"),
    ] {
        assert_eq!(unknown(wrong)?, [named], "{wrong}");
    }
    Ok(())
}
