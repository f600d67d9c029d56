//! The alerts, by promtool, and what they say to whoever is woken by one.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Shell, paths};
use serde_json::Value;

use super::promql::Expression;
use super::registry::Registry;
use super::{Scratch, entries, items, text, words, yaml};

const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const TESTS: &str = "deploy/prometheus/alerts.test.yaml";

/// Asks promtool, at the root of the repository.
pub(super) fn promtool(args: &[&str]) -> Result<Output> {
    let program = paths::prometheus("promtool")?;
    let output = Command::new(&program).args(args).current_dir(paths::root()).output();
    output.with_context(|| format!("{}: run `cargo xtask install`", program.display()))
}

fn accepted(args: &[&str]) -> Result<()> {
    let output = promtool(args)?;
    ensure!(output.status.success(), "promtool {args:?}: {output:?}");
    Ok(())
}

fn alerts() -> Result<Vec<Value>> {
    let groups = yaml(ALERTS)?;
    let rules = items(&groups, "/groups")?.iter().map(|group| items(group, "/rules"));
    let rules: Vec<Value> = rules.collect::<Result<Vec<_>>>()?.concat();
    ensure!(rules.len() >= 15, "there are only {} alerts", rules.len());
    Ok(rules)
}

#[test]
fn promtool_accepts_the_alerts_and_what_their_tests_say_of_them() -> Result<()> {
    accepted(&["check", "rules", "--lint-fatal", ALERTS])?;
    accepted(&["test", "rules", TESTS])?;
    accepted(&["check", "config", "--syntax-only", "deploy/prometheus/prometheus.yaml"])
}

#[test]
fn promtool_notices_an_alert_that_is_wrong_or_fires_at_another_time() -> Result<()> {
    let scratch = Scratch::new()?;
    let good = text(ALERTS)?;
    let wrong = good.replacen("max by (", "max bye (", 1);
    ensure!(wrong != good);
    let wrong = scratch.write("wrong.yaml", &wrong)?;
    ensure!(!promtool(&["check", "rules", &wrong])?.status.success());
    let late = good.replacen("mailroom_kafka_away_seconds > 30", "mailroom_kafka_away_seconds > 300", 1);
    ensure!(late != good);
    scratch.write("alerts.yaml", &late)?;
    let tests = scratch.write("alerts.test.yaml", &text(TESTS)?)?;
    let output = promtool(&["test", "rules", &tests])?;
    ensure!(!output.status.success() && format!("{output:?}").contains("MailroomKafkaAway"), "{output:?}");
    Ok(())
}

#[test]
fn alerts_ask_for_metrics_and_labels_that_hosts_tell() -> Result<()> {
    let registry = Registry::read()?;
    for alert in alerts()? {
        let name = words(&alert, "/alert")?;
        let expression = Expression::read(words(&alert, "/expr")?)?;
        let unknown = registry.unknown(&expression);
        ensure!(unknown.is_empty() && !expression.selectors.is_empty(), "{name}: {unknown:?}");
        for (_, annotation) in entries(&alert, "/annotations") {
            let annotation = annotation.as_str().context("an annotation is text")?;
            for label in annotation.split("$labels.").skip(1) {
                let end = label.find(|sign: char| !sign.is_alphanumeric() && sign != '_');
                let label = label.get(..end.unwrap_or(label.len())).unwrap_or_default();
                ensure!(registry.has_label(&expression, label), "{name} speaks of the label {label}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn each_alert_says_what_is_wrong_and_what_to_do_and_names_a_page() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut names = BTreeSet::new();
    for alert in alerts()? {
        let name = words(&alert, "/alert")?;
        ensure!(names.insert(name.to_owned()), "{name} is there twice");
        let severity = words(&alert, "/labels/severity")?;
        ensure!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        for annotation in ["summary", "remedy"] {
            let says = words(&alert, &format!("/annotations/{annotation}"))?;
            ensure!(says.len() > 20 && says.ends_with('.'), "{name}: {annotation} is no sentence: {says}");
            for command in commands(says) {
                let asked = Shell::of(scratch.path())?.ran(&format!("{command} --help")).await?;
                asked.ok().with_context(|| format!("{name} tells to run `{command}`"))?;
            }
        }
        let page = words(&alert, "/annotations/page")?;
        ensure!(is_there(page)?, "{name}: there is no {page}");
    }
    Ok(())
}

/// Commands that a text quotes, up to their first argument that is not a word.
fn commands(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with("mailroom "));
    let is_word = |word: &&str| word.chars().all(|sign| sign.is_ascii_lowercase());
    quoted.map(|quoted| quoted.split(' ').take_while(is_word).collect::<Vec<_>>().join(" ")).collect()
}

/// True for a page of the repository that has the heading behind `#`.
fn is_there(page: &str) -> Result<bool> {
    let (path, anchor) = page.split_once('#').unwrap_or((page, ""));
    let headings = text(path)?;
    let mut headings = headings.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    Ok(anchor.is_empty()
        || headings.any(|heading| {
            let kept = heading.chars().filter(|sign| sign.is_alphanumeric() || " -".contains(*sign));
            kept.flat_map(char::to_lowercase)
                .map(|sign| if sign == ' ' { '-' } else { sign })
                .eq(anchor.chars())
        }))
}

#[test]
fn pages_and_their_headings_are_found_and_others_are_not() -> Result<()> {
    ensure!(is_there("docs/errors.md")? && is_there("docs/errors.md#warnings-of-mailroom-status")?);
    ensure!(!is_there("docs/errors.md#warnings")? && is_there("docs/nothing.md").is_err());
    assert_eq!(commands("see `mailroom handler reset {{ . }}` or `dead list`"), ["mailroom handler reset"]);
    Ok(())
}

#[test]
fn each_alert_is_tested_to_fire_and_to_keep_quiet() -> Result<()> {
    let mut tested: BTreeMap<String, [bool; 2]> = BTreeMap::new();
    for test in items(&yaml(TESTS)?, "/tests")? {
        for case in items(test, "/alert_rule_test")? {
            let fires =
                case.get("exp_alerts").and_then(Value::as_array).is_some_and(|fired| !fired.is_empty());
            let [fired, kept_quiet] = tested.entry(words(case, "/alertname")?.to_owned()).or_default();
            *(if fires { fired } else { kept_quiet }) = true;
        }
    }
    let names = alerts()?
        .iter()
        .map(|alert| words(alert, "/alert").map(str::to_owned))
        .collect::<Result<BTreeSet<_>>>()?;
    for name in &names {
        assert_eq!(tested.get(name), Some(&[true, true]), "{name} fires, and keeps quiet");
    }
    ensure!(tested.len() == names.len(), "tested is what is no alert: {:?}", tested.keys());
    Ok(())
}
