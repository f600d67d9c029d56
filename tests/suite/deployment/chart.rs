//! The chart. Building Helm takes minutes, so that its renderings are committed: `cargo xtask chart` renews them, and these
//! tests see whether they are of the chart as it is, and judge what would be installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::paths;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::registry::Registry;
use super::{Scratch, accepts, at, documents, entries, items, text, words, yaml};

const CHART: &str = "deploy/helm/mailroom";
const EXAMPLE: &str = "deploy/helm/example.yaml";
const RENDERINGS: [&str; 2] = ["deploy/helm/rendered/defaults.yaml", "deploy/helm/rendered/example.yaml"];
const SECRETS: &str = "/run/secrets/mailroom";

/// Files below a folder, from the root of the repository.
fn below(folder: &str) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(paths::root().join(folder))? {
        let path = format!("{folder}/{}", entry?.file_name().to_string_lossy());
        if paths::root().join(&path).is_dir() {
            files.append(&mut below(&path)?);
        } else {
            files.insert(path);
        }
    }
    Ok(files)
}

/// Objects of a rendering, by their kinds.
fn objects(rendering: &str) -> Result<BTreeMap<String, Value>> {
    let mut objects = BTreeMap::new();
    for object in documents(rendering)?.into_iter().filter(|object| !object.is_null()) {
        let kind = words(&object, "/kind")?.to_owned();
        ensure!(objects.insert(kind.clone(), object).is_none(), "{rendering}: a second {kind}");
    }
    Ok(objects)
}

fn object<'o>(objects: &'o BTreeMap<String, Value>, kind: &str) -> Result<&'o Value> {
    objects.get(kind).with_context(|| format!("no {kind} is installed"))
}

/// The only container of a Deployment or a Job.
fn container(of: &Value) -> Result<&Value> {
    let containers = items(of, "/spec/template/spec/containers")?;
    assert_eq!(containers.len(), 1);
    containers.first().context("no container")
}

#[test]
fn renderings_are_of_the_chart_as_it_is() -> Result<()> {
    for rendering in RENDERINGS {
        let rendered = text(rendering)?;
        let sums = rendered.lines().take_while(|line| line.starts_with("# ")).filter_map(|line| {
            let (sum, path) = line.strip_prefix("# ")?.split_once("  ")?;
            Some((path.to_owned(), sum.to_owned()))
        });
        let sums: BTreeMap<String, String> = sums.collect();
        let mut expected = below(CHART)?;
        // The renderings have nothing of dashboards.
        expected.retain(|path| !path.contains("/files/dashboards/"));
        expected.insert(EXAMPLE.to_owned());
        let named: BTreeSet<String> = sums.keys().cloned().collect();
        assert_eq!(named, expected, "{rendering}: run `cargo xtask chart`");
        for (path, sum) in sums {
            let digest = Sha256::digest(fs::read(paths::root().join(&path))?);
            let mut is = String::new();
            digest.iter().try_for_each(|byte| write!(is, "{byte:02x}"))?;
            assert_eq!(is, sum, "{path} has changed since {rendering}: run `cargo xtask chart`");
        }
    }
    Ok(())
}

#[test]
fn templates_use_each_value_and_no_other() -> Result<()> {
    let values = yaml(&format!("{CHART}/values.yaml"))?;
    let mut used = BTreeSet::new();
    for path in below(&format!("{CHART}/templates"))? {
        let template = text(&path)?;
        // `with .Values.x` makes `.y` of it.
        let mut within = Vec::new();
        for action in template.split("{{").skip(1) {
            let action = action.split("}}").next().unwrap_or_default().trim_matches('-').trim();
            if let Some(of) = action.strip_prefix("with .Values.") {
                within.push(of.to_owned());
            }
            used.extend(action.split(".Values.").skip(1).map(value_path));
            for word in action.split([' ', '(', ')']).filter_map(|word| word.strip_prefix('.')) {
                let name = value_path(word);
                let is_value = |of: &&String| values.pointer(&format!("/{of}/{name}")).is_some();
                if let Some(of) = within.iter().rev().find(is_value) {
                    used.insert(format!("{of}.{name}"));
                }
            }
        }
    }
    for path in &used {
        let pointer = format!("/{}", path.replace('.', "/"));
        ensure!(
            values.pointer(&pointer).is_some(),
            "a template uses .Values.{path}, which values.yaml has not"
        );
    }
    let is_used = |path: &str| used.iter().any(|used| path == used || path.starts_with(&format!("{used}.")));
    for (section, value) in entries(&values, "") {
        let keys = entries(value, "").into_iter().map(|(key, _)| format!("{section}.{key}"));
        let keys: Vec<String> = if value.is_object() { keys.collect() } else { Vec::new() };
        let unused = keys.iter().find(|key| !is_used(key));
        ensure!(unused.is_none(), "no template uses .Values.{unused:?}");
        ensure!(!keys.is_empty() || is_used(section), "no template uses .Values.{section}");
    }
    for (section, value) in entries(&yaml(EXAMPLE)?, "") {
        let known = values.get(section).with_context(|| format!("{EXAMPLE}: there is no value {section}"))?;
        for (key, _) in entries(value, "").into_iter().filter(|_| known.is_object()) {
            ensure!(known.get(key).is_some(), "{EXAMPLE}: there is no value {section}.{key}");
        }
    }
    Ok(())
}

/// The leading path of names, with dots between them.
fn value_path(text: &str) -> String {
    let end = text.find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '.' && sign != '_');
    text.get(..end.unwrap_or(text.len())).unwrap_or_default().trim_end_matches('.').to_owned()
}

#[tokio::test]
async fn a_host_knows_the_settings_that_it_is_given_and_finds_its_secrets_in_files() -> Result<()> {
    for rendering in RENDERINGS {
        let (scratch, objects) = (Scratch::new()?, objects(rendering)?);
        let secrets = scratch.secrets().await?;
        authority(&format!("{secrets}/kafka-ca"))?;
        let here = |text: &str| text.replace(SECRETS, &secrets);
        for kind in ["Deployment", "Job"] {
            let container = container(object(&objects, kind)?)?;
            let mut env = Vec::new();
            let mut is_configured = false;
            for variable in items(container, "/env")? {
                let name = words(variable, "/name")?;
                if name == "MAILROOM_CONFIG" {
                    assert_eq!(words(variable, "/value")?, "/etc/mailroom/mailroom.toml");
                    is_configured = true;
                    continue;
                }
                let value = variable.get("value").and_then(Value::as_str);
                ensure!(value.is_some() || variable.get("valueFrom").is_some(), "{name} has no value");
                let is_secret = ["PASSWORD", "TOKEN", "URL"].iter().any(|word| name.ends_with(word));
                ensure!(!is_secret || value.is_none(), "{name} is no secret's: {value:?}");
                env.push((name.to_owned(), here(value.unwrap_or("any"))));
            }
            let config = here(words(object(&objects, "ConfigMap")?, "/data/mailroom.toml")?);
            let config = is_configured.then_some(config.as_str());
            accepts(&scratch, &env, config).await.with_context(|| format!("{rendering}, {kind}"))?;
            assert_eq!(is_configured, kind == "Deployment");
        }
    }
    Ok(())
}

/// Makes a certificate of an authority.
fn authority(path: &str) -> Result<()> {
    let args = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=test",
        "-keyout",
        "/dev/null",
        "-out",
    ];
    let made = Command::new("openssl").args(args).arg(path).output()?;
    ensure!(made.status.success() && Path::new(path).exists(), "{made:?}");
    Ok(())
}

#[test]
fn probes_ask_the_admin_port_and_a_pod_is_given_the_time_that_a_stop_takes() -> Result<()> {
    for rendering in RENDERINGS {
        let objects = objects(rendering)?;
        let deployment = object(&objects, "Deployment")?;
        let host = container(deployment)?;
        let port =
            items(host, "/ports")?.iter().find(|port| port["name"] == "admin").context("no admin port")?;
        let config = words(object(&objects, "ConfigMap")?, "/data/mailroom.toml")?;
        let number = &port["containerPort"];
        ensure!(
            config.contains(&format!("listen = \"0.0.0.0:{number}\"")),
            "{rendering}: it listens elsewhere"
        );
        for (probe, path) in
            [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
        {
            assert_eq!(words(host, &format!("/{probe}/httpGet/path"))?, path);
            assert_eq!(words(host, &format!("/{probe}/httpGet/port"))?, "admin");
        }
        let pod = at(deployment, "/spec/template/spec")?;
        ensure!(
            pod["terminationGracePeriodSeconds"].as_u64() > Some(25),
            "it is killed within host.stop-grace"
        );
    }
    Ok(())
}

#[test]
fn pods_are_restricted_and_mount_what_they_are_told_of() -> Result<()> {
    for rendering in RENDERINGS {
        let objects = objects(rendering)?;
        for kind in ["Deployment", "Job"] {
            let pod = at(object(&objects, kind)?, "/spec/template/spec")?;
            let container = container(object(&objects, kind)?)?;
            assert_eq!(pod["automountServiceAccountToken"], false);
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(words(pod, "/securityContext/seccompProfile/type")?, "RuntimeDefault");
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
            assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
            assert_eq!(items(container, "/securityContext/capabilities/drop")?, ["ALL"]);
            let image = text("deploy/Dockerfile")?;
            let user = &pod["securityContext"]["runAsUser"];
            ensure!(image.contains(&format!("USER {user}:")), "{user} is not the user of the image");
            let volumes: BTreeSet<&str> =
                items(pod, "/volumes")?.iter().map(|volume| words(volume, "/name")).collect::<Result<_>>()?;
            let mounts = items(container, "/volumeMounts")?;
            let mounted =
                mounts.iter().map(|mount| words(mount, "/name")).collect::<Result<BTreeSet<_>>>()?;
            assert_eq!(mounted, volumes, "{rendering}, {kind}: mounted, and there");
            ensure!(mounts.iter().any(|mount| mount["mountPath"] == SECRETS && mount["readOnly"] == true));
        }
    }
    Ok(())
}

#[test]
fn what_selects_pods_selects_hosts_and_what_they_are_scaled_by_is_told_by_them() -> Result<()> {
    let registry = Registry::read()?;
    for rendering in RENDERINGS {
        let objects = objects(rendering)?;
        let labels = at(object(&objects, "Deployment")?, "/spec/template/metadata/labels")?;
        for (kind, pointer) in [
            ("Deployment", "/spec/selector/matchLabels"),
            ("PodDisruptionBudget", "/spec/selector/matchLabels"),
            ("NetworkPolicy", "/spec/podSelector/matchLabels"),
            ("PodMonitor", "/spec/selector/matchLabels"),
        ] {
            let Some(selecting) = objects.get(kind) else { continue };
            let selected = entries(selecting, pointer);
            ensure!(selected.len() == 2, "{rendering}: {kind} selects by {selected:?}");
            for (label, value) in &selected {
                assert_eq!(labels.get(*label), Some(*value), "{rendering}: {kind}");
            }
            let migration = at(object(&objects, "Job")?, "/spec/template/metadata/labels")?;
            let is_migration = selected.iter().all(|(label, value)| migration.get(*label) == Some(*value));
            ensure!(!is_migration, "{rendering}: {kind} takes the migration for a host");
        }
    }
    let objects = objects(RENDERINGS[1])?;
    let scaler = object(&objects, "HorizontalPodAutoscaler")?;
    let metric = words(scaler, "/spec/metrics/0/external/metric/name")?;
    let asked = super::promql::Expression::read(metric)?;
    assert_eq!(registry.unknown(&asked), [""; 0]);
    assert_eq!(metric, "mailroom_inbox_oldest_eligible_age_seconds");
    assert_eq!(words(scaler, "/spec/scaleTargetRef/kind")?, "Deployment");
    ensure!(
        object(&objects, "Deployment")?["spec"].get("replicas").is_none(),
        "an upgrade would undo the scaling"
    );
    assert_eq!(object(&objects, "PrometheusRule")?["spec"], yaml("deploy/prometheus/alerts.yaml")?);
    let monitor = at(object(&objects, "PodMonitor")?, "/spec/podMetricsEndpoints/0")?;
    assert_eq!(words(monitor, "/authorization/credentials/key")?, "admin-token");
    assert_eq!(words(monitor, "/relabelings/0/replacement")?, "mailroom", "the job of the alerts");
    Ok(())
}
