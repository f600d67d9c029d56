//! Files of `deploy`: they name only metrics, settings and files that there are, its own tools accept them where they can be
//! had, and what can be run is run.

mod alerts;
mod chart;
mod compose;
mod dashboards;
mod image;
mod promql;
mod registry;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Shell, paths};
use serde_json::Value;

/// A file of the repository.
fn text(path: &str) -> Result<String> {
    fs::read_to_string(paths::root().join(path)).with_context(|| path.to_owned())
}

/// Documents of a file in YAML.
fn documents(path: &str) -> Result<Vec<Value>> {
    serde_saphyr::from_multiple(&text(path)?).with_context(|| path.to_owned())
}

/// A file in YAML that has one document.
fn yaml(path: &str) -> Result<Value> {
    serde_saphyr::from_str(&text(path)?).with_context(|| path.to_owned())
}

/// Value at a JSON pointer.
fn at<'v>(value: &'v Value, pointer: &str) -> Result<&'v Value> {
    value.pointer(pointer).with_context(|| format!("there is no {pointer} in {value}"))
}

fn words<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    at(value, pointer)?.as_str().with_context(|| format!("{pointer} is no text in {value}"))
}

fn items<'v>(value: &'v Value, pointer: &str) -> Result<&'v [Value]> {
    let items = at(value, pointer)?.as_array();
    items.map(Vec::as_slice).with_context(|| format!("{pointer} is no list in {value}"))
}

/// Names and values of a table; none where it is not there.
fn entries<'v>(value: &'v Value, pointer: &str) -> Vec<(&'v str, &'v Value)> {
    let table = value.pointer(pointer).and_then(Value::as_object);
    table.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect()
}

/// A folder of a test's own below cargo's.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = paths::target()?.join("deployment").join(name);
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and gives its path.
    fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Makes the secrets of `compose.yaml` as its reader does, and gives their folder.
    async fn secrets(&self) -> Result<String> {
        let folder = self.0.join("secrets").display().to_string();
        let script = paths::root().join("deploy/make-secrets").display().to_string();
        Shell::of(&self.0)?.ran(&format!("{script} {folder}")).await?.ok()?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that stays is below cargo's.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Has the program judge settings as a host that starts would: each variable, and a file where there is one.
async fn accepts(scratch: &Scratch, env: &[(String, String)], config: Option<&str>) -> Result<()> {
    let mut shell = Shell::of(scratch.path())?;
    for (name, value) in env {
        ensure!(name.starts_with("MAILROOM_"), "{name} is none of ours");
        shell = shell.with(name, value);
    }
    if let Some(config) = config {
        shell = shell.with("MAILROOM_CONFIG", &scratch.write("given.toml", config)?);
    }
    shell.ran("mailroom config check").await?.ok().map(drop)
}

#[tokio::test]
async fn settings_that_no_host_has_would_be_noticed() -> Result<()> {
    let scratch = Scratch::new()?;
    let known = [
        ("MAILROOM__POSTGRES__URL", "postgres://u:p@h/d"),
        ("MAILROOM__KAFKA__BROKERS", "k:9092"),
        ("MAILROOM__ADMIN__LISTEN", "127.0.0.1:9180"),
    ];
    let known = known.map(|(name, value)| (name.to_owned(), value.to_owned()));
    accepts(&scratch, &known, None).await?;
    let unknown = ("MAILROOM__ADMIN__LISTENS".to_owned(), "127.0.0.1:9180".to_owned());
    ensure!(accepts(&scratch, &[&known[..], &[unknown]].concat(), None).await.is_err());
    ensure!(accepts(&scratch, &known, Some("[admin]\nlistens = \"off\"\n")).await.is_err());
    Ok(())
}
