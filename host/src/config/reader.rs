//! Takes settings out of a table one after another and keeps everything that is wrong.
//!
//! A reader never stops at the first error: a wrong value counts as its default until
//! [`Reader::finish`], which refuses the whole when anything was wrong or is left over.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::declare::{Declaration, Key};
use super::error::{ConfigError, ConfigErrors};
use super::given::Given;

/// Source of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// Value from the configuration file.
    File,
    /// The environment.
    Env,
}

/// One effective setting, for `config show`; secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    /// The key, for example `host.expiry`.
    pub key: String,
    /// The value in the form in which the file has it; empty where there is none.
    pub value: String,
    /// Source of the value.
    pub source: Source,
}

/// A value of the environment with the variable's name.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Debug, Default)]
pub(super) struct Reader {
    table: Table,
    env: BTreeMap<String, Variable>,
    known: BTreeSet<String>,
    declared: Vec<Declaration>,
    settings: Vec<Setting>,
    errors: Vec<ConfigError>,
}

impl Reader {
    /// `env` is keyed as the file is.
    pub(super) fn new(table: Table, env: BTreeMap<String, Variable>) -> Self {
        Self { table, env, ..Self::default() }
    }

    /// Notes how a setting is declared.
    pub(super) fn declare(&mut self, key: Key<'_>, kind: &'static str, bounds: &str, default: String) {
        self.declared.push(key.declaration(kind, bounds, default));
    }

    /// Gives what was declared while it read.
    pub(super) fn declared(self) -> Vec<Declaration> {
        self.declared
    }

    /// Takes the value of a key; the environment wins.
    pub(super) fn take(&mut self, key: &str) -> Option<Given> {
        self.known.insert(key.to_owned());
        let filed = remove(&mut self.table, key);
        match self.env.remove(key) {
            Some(variable) => Some(Given { value: Value::String(variable.value), source: Source::Env }),
            None => filed.map(|value| Given { value, source: Source::File }),
        }
    }

    /// Takes all variables below a key, by the rest of their keys.
    pub(super) fn take_env_below(&mut self, key: &str) -> Vec<(String, String)> {
        let prefix = format!("{key}.");
        let names: Vec<String> = self.env.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
        let rest = |name: &String| name.strip_prefix(&prefix).unwrap_or_default().to_owned();
        names.iter().filter_map(|name| Some((rest(name), self.env.remove(name)?.value))).collect()
    }

    /// The names of the tables in a section, from the file and the environment.
    pub(super) fn tables(&mut self, section: &str) -> BTreeSet<String> {
        self.known.insert(format!("{section}.NAME"));
        let filed = section.split('.').try_fold(&self.table, |table, name| table.get(name)?.as_table());
        let filed =
            filed.into_iter().flatten().filter(|(_, value)| value.is_table()).map(|(name, _)| name.clone());
        let prefix = format!("{section}.");
        let variables = self.env.keys().filter_map(|key| key.strip_prefix(&prefix)?.split_once('.'));
        filed.chain(variables.map(|(name, _)| name.to_owned())).collect()
    }

    /// Notes an effective value.
    pub(super) fn note(&mut self, key: &str, value: String, source: Source) {
        self.settings.push(Setting { key: key.to_owned(), value, source });
    }

    /// Notes that a value is refused, and why.
    pub(super) fn refuse(&mut self, key: &str, value: Option<String>, problem: String) {
        self.errors.push(ConfigError { key: key.to_owned(), value, problem });
    }

    /// Tells whether anything is said below a key.
    pub(super) fn has(&self, section: &str) -> bool {
        self.table.contains_key(section)
    }

    /// Tells whether somebody set a key that was read.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.source(key).is_some_and(|source| source != Source::Default)
    }

    /// Returns where the value of a key that was read comes from.
    pub(super) fn source(&self, key: &str) -> Option<Source> {
        self.settings.iter().find(|setting| setting.key == key).map(|setting| setting.source)
    }

    /// Shows a key as if nobody had set it: another takes its place.
    pub(super) fn overrule(&mut self, key: &str) {
        for setting in self.settings.iter_mut().filter(|setting| setting.key == key) {
            (setting.value, setting.source) = (String::new(), Source::Default);
        }
    }

    /// Tells whether a key's value has been refused.
    pub(super) fn refused(&self, key: &str) -> bool {
        self.errors.iter().any(|error| error.key == key)
    }

    /// Two settings that do not go together; said only where each alone is right.
    pub(super) fn refuse_pair(&mut self, key: &str, other: &str, problem: &str) {
        if self.refused(key) || self.refused(other) {
            return;
        }
        let shown = |settings: &[Setting], key: &str| {
            settings
                .iter()
                .find(|setting| setting.key == key)
                .map_or_else(String::new, |found| found.value.clone())
        };
        let (value, limit) = (shown(&self.settings, key), shown(&self.settings, other));
        self.refuse(key, Some(value), format!("{problem} {other} = {limit}"));
    }

    /// The settings, or all that was wrong and all that nobody asked for.
    pub(super) fn finish(mut self) -> Result<Vec<Setting>, ConfigErrors> {
        let mut left = Vec::new();
        leaves(&self.table, "", &mut left);
        // A value may be a secret under a mistyped name.
        for key in left {
            let problem = self.unknown(&key);
            self.refuse(&key, None, problem);
        }
        for (key, variable) in std::mem::take(&mut self.env) {
            let problem = self.unknown(&key);
            self.refuse(&variable.name, None, problem);
        }
        if self.errors.is_empty() { Ok(self.settings) } else { Err(ConfigErrors(self.errors)) }
    }

    fn unknown(&self, key: &str) -> String {
        let listed = |prefix: &str| {
            let names = self.known.iter().filter_map(|known| known.strip_prefix(prefix));
            names.map(|name| name.split('.').next().unwrap_or(name)).collect::<BTreeSet<_>>()
        };
        let join = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
        let inside = listed(&format!("{key}."));
        if !inside.is_empty() {
            return format!("must be a table with the keys {}", join(inside));
        }
        let section = key.split_once('.').map(|(section, _)| section);
        match section.map(|section| (section, listed(&format!("{section}.")))) {
            Some((section, names)) if !names.is_empty() => {
                format!("unknown key; [{section}] has the keys {}", join(names))
            }
            _ => format!("unknown key; allowed are {}", join(listed(""))),
        }
    }
}

fn remove(table: &mut Table, key: &str) -> Option<Value> {
    match key.split_once('.') {
        None => table.remove(key),
        Some((section, rest)) => remove(table.get_mut(section)?.as_table_mut()?, rest),
    }
}

/// Collects what is left in a table, by its dotted keys. An emptied table is nothing.
fn leaves(table: &Table, prefix: &str, found: &mut Vec<String>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value {
            Value::Table(inner) => leaves(inner, &format!("{key}."), found),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => found.push(key),
        }
    }
}
