//! Handlers to drop: the built guests, and manifests for them.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::paths;

/// The file of a built guest or example handler.
///
/// # Errors
/// Where it was not built; names the command that does.
pub fn guest(name: &str) -> Result<PathBuf> {
    built("target/guests", name)
}

/// The other build of an example handler, which emits something else.
///
/// # Errors
/// As [`guest`].
pub fn second_edition(name: &str) -> Result<PathBuf> {
    built("target/guests-second-edition", name)
}

fn built(target: &str, name: &str) -> Result<PathBuf> {
    let folder = paths::root().join(target).join("wasm32-wasip2/release");
    // Cargo writes a library's name with underscores and a program's as it is.
    [name.to_owned(), name.replace('-', "_")]
        .iter()
        .map(|stem| folder.join(format!("{stem}.wasm")))
        .find(|file| file.is_file())
        .with_context(|| format!("{name}.wasm is not in {}: run `cargo xtask guests`", folder.display()))
}

/// A handler's manifest, `NAME.toml`. State is always granted.
#[derive(Debug, Clone, Default)]
pub struct Manifest {
    takes: Vec<String>,
    publishes: Vec<String>,
    form: Option<&'static str>,
    sql: Option<&'static str>,
    grants: String,
    http: Vec<String>,
    top: String,
}

impl Manifest {
    /// Makes the manifest of a handler that takes these topics.
    #[must_use]
    pub fn takes(topics: &[&str]) -> Self {
        Self { takes: owned(topics), ..Self::default() }
    }

    /// Grants publishing to these topics.
    #[must_use]
    pub fn publishes(mut self, topics: &[&str]) -> Self {
        self.publishes = owned(topics);
        self
    }

    /// Takes payloads as text: one that is not UTF-8 is quarantined.
    #[must_use]
    pub fn as_text(mut self) -> Self {
        self.form = Some("text");
        self
    }

    /// Grants SQL as the role of the section `[sql.NAME]`.
    #[must_use]
    pub fn sql(mut self, name: &'static str) -> Self {
        self.sql = Some(name);
        self
    }

    /// One more grant: `log = "info"`.
    #[must_use]
    pub fn grants(mut self, line: &str) -> Self {
        self.grants = format!("{}{line}\n", self.grants);
        self
    }

    /// Grants HTTP requests to these hosts.
    #[must_use]
    pub fn http(mut self, hosts: &[&str]) -> Self {
        self.http = owned(hosts);
        self
    }

    /// One more key, outside of the sections: `start = "latest"`.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        self.top = format!("{}{line}\n", self.top);
        self
    }

    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Self { takes, publishes, form, sql, http, grants, top } = self;
        let form = form.unwrap_or("binary");
        let sql = sql.map(|name| format!("sql = \"{name}\"\n")).unwrap_or_default();
        format!(
            "{top}[subscribe]\ntopics = {takes:?}\nform = \"{form}\"\n\n[grants]\npublish = {publishes:?}\nhttp = {http:?}\nstate = true\n{sql}{grants}"
        )
    }
}

fn owned(topics: &[&str]) -> Vec<String> {
    topics.iter().map(|&topic| topic.to_owned()).collect()
}
