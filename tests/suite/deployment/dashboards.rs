//! The dashboards: what they ask for is there, and whoever reads them learns what each picture shows.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::paths;
use serde_json::{Value, json};

use super::alerts::promtool;
use super::promql::Expression;
use super::registry::Registry;
use super::{Scratch, items, text, words};

const FOLDER: &str = "deploy/grafana/dashboards";
/// Grafana's names of units.
const UNITS: [&str; 5] = ["bytes", "ops", "percentunit", "s", "short"];

/// Files and what they hold.
fn dashboards() -> Result<Vec<(String, Value)>> {
    let mut dashboards = Vec::new();
    for entry in fs::read_dir(paths::root().join(FOLDER))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let dashboard = text(&format!("{FOLDER}/{name}"))?;
        dashboards.push((name, serde_json::from_str(&dashboard)?));
    }
    dashboards.sort_by(|(one, _), (other, _)| one.cmp(other));
    let names: Vec<&str> = dashboards.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["handlers.json", "overview.json", "postgres.json"]);
    Ok(dashboards)
}

/// Panels that show something.
fn panels(dashboard: &Value) -> Result<Vec<&Value>> {
    let panels =
        items(dashboard, "/panels")?.iter().filter(|panel| panel["type"] != "row").collect::<Vec<_>>();
    ensure!(panels.len() > 10, "there are only {} panels", panels.len());
    Ok(panels)
}

#[test]
fn panels_ask_the_chosen_source_for_metrics_and_labels_that_hosts_tell() -> Result<()> {
    let registry = Registry::read()?;
    for (file, dashboard) in dashboards()? {
        for panel in panels(&dashboard)? {
            let title = format!("{file}, {}", words(panel, "/title")?);
            for target in items(panel, "/targets")? {
                assert_eq!(words(target, "/datasource/uid")?, "${datasource}", "{title}");
                let expression = Expression::read(words(target, "/expr")?)?;
                let unknown = registry.unknown(&expression);
                ensure!(unknown.is_empty() && !expression.selectors.is_empty(), "{title}: {unknown:?}");
                for selector in &expression.selectors {
                    let of_job = ("job".to_owned(), "=$job".to_owned());
                    ensure!(selector.matchers.contains(&of_job), "{title}: {} of all jobs", selector.metric);
                }
                for label in words(target, "/legendFormat")?.split("{{").skip(1) {
                    let label = label.split("}}").next().unwrap_or_default();
                    let grouped =
                        expression.labels.is_empty() || expression.labels.iter().any(|by| by == label);
                    ensure!(
                        grouped && registry.has_label(&expression, label),
                        "{title}: its legend has {label}, which it does not ask for"
                    );
                }
            }
        }
        for variable in items(&dashboard, "/templating/list")? {
            if let Some(query) = variable.pointer("/query/query").and_then(Value::as_str) {
                let asked = query.strip_prefix("label_values(").and_then(|asked| asked.strip_suffix(')'));
                let (metric, label) =
                    asked.and_then(|asked| asked.rsplit_once(", ")).context("a query of another kind")?;
                let expression = Expression::read(metric)?;
                ensure!(registry.unknown(&expression).is_empty(), "{file}: {query}");
                ensure!(registry.has_label(&expression, label), "{file}: {query}");
            }
        }
    }
    Ok(())
}

#[test]
fn each_panel_has_a_title_a_unit_a_description_and_a_place_of_its_own() -> Result<()> {
    for (file, dashboard) in dashboards()? {
        ensure!(words(&dashboard, "/description")?.ends_with('.'), "{file}");
        let (mut ids, mut titles, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for panel in items(&dashboard, "/panels")? {
            let title = words(panel, "/title")?;
            ensure!(
                ids.insert(panel["id"].as_u64().context("an id")?),
                "{file}, {title}: its id is another's"
            );
            let place = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap_or(99));
            let [x, y, w, h] = place;
            ensure!(x + w <= 24, "{file}, {title}: it is wider than the page");
            let cells = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
            ensure!(cells.into_iter().all(|cell| taken.insert(cell)), "{file}, {title}: lies over another");
            if panel["type"] == "row" {
                continue;
            }
            ensure!(titles.insert(title.to_owned()), "{file}, {title}: twice");
            let description = words(panel, "/description")?;
            ensure!(description.len() > 20 && description.ends_with('.'), "{file}, {title}: {description}");
            let unit = words(panel, "/fieldConfig/defaults/unit")?;
            ensure!(UNITS.contains(&unit), "{file}, {title}: no unit {unit}");
            let asks_seconds = items(panel, "/targets")?.iter().all(|target| {
                let expression = target["expr"].as_str().unwrap_or_default();
                expression.contains("_seconds") && !expression.contains("_seconds_count")
            });
            ensure!(!asks_seconds || ["s", "short"].contains(&unit), "{file}, {title}: seconds as {unit}");
        }
    }
    Ok(())
}

#[test]
fn dashboards_have_names_of_their_own_and_lead_to_each_other() -> Result<()> {
    let dashboards = dashboards()?;
    let uids =
        dashboards.iter().map(|(_, dashboard)| words(dashboard, "/uid")).collect::<Result<BTreeSet<_>>>()?;
    assert_eq!(uids.len(), dashboards.len());
    for (file, dashboard) in &dashboards {
        assert_eq!(words(dashboard, "/templating/list/0/type")?, "datasource", "{file}");
        for link in items(dashboard, "/links")? {
            let uid = words(link, "/url")?.strip_prefix("/d/").context("a link to a dashboard")?;
            ensure!(uids.contains(uid), "{file} leads to {uid}");
        }
    }
    Ok(())
}

#[test]
fn promtool_reads_what_panels_ask() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut rules = Vec::new();
    for (_, dashboard) in dashboards()? {
        for panel in panels(&dashboard)? {
            for target in items(panel, "/targets")? {
                let expression = words(target, "/expr")?.replace("$__rate_interval", "1m");
                rules.push(json!({ "record": format!("panel:{}", rules.len()), "expr": expression }));
            }
        }
    }
    // JSON is YAML too.
    let file = |rules: &[Value]| json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string();
    let good = scratch.write("panels.yaml", &file(&rules))?;
    let output = promtool(&["check", "rules", &good])?;
    ensure!(output.status.success(), "{output:?}");
    rules.push(json!({ "record": "panel:wrong", "expr": "sum by job (up)" }));
    let wrong = scratch.write("wrong.yaml", &file(&rules))?;
    ensure!(!promtool(&["check", "rules", &wrong])?.status.success());
    Ok(())
}
