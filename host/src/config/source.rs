//! Sources of settings: the file and the environment, which is read nowhere else.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Table;

use super::error::ConfigErrors;
use super::reader::{Reader, Variable};

const DEFAULT: &str = "mailroom.toml";
const PREFIX: &str = "MAILROOM__";
const PROPERTIES: &str = "kafka.properties.";

/// The process's environment as text.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// Opens the file that is named, by the caller or by `MAILROOM_CONFIG`, or the default one where it exists.
pub(super) fn open(
    path: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Reader, ConfigErrors> {
    let mut named = None;
    let mut variables = BTreeMap::new();
    for (name, value) in env {
        if name == "MAILROOM_CONFIG" && !value.is_empty() {
            named = Some(value);
        } else if let Some(key) = name.strip_prefix(PREFIX).map(key) {
            variables.insert(key, Variable { name, value });
        }
    }
    let path = path.or(named.as_deref().map(Path::new));
    let text = match path {
        Some(path) => {
            read(path).map_err(|error| ConfigErrors::file(format!("{}: {error}", path.display())))?
        }
        None => match read(Path::new(DEFAULT)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| ConfigErrors::file(format!("{DEFAULT}: {error}")))?,
        },
    };
    let shown = path.unwrap_or(Path::new(DEFAULT)).display();
    let table = parse(&text).map_err(|problem| ConfigErrors::file(format!("{shown}: {problem}")))?;
    Ok(Reader::new(table, variables))
}

/// A file's table, or what is not TOML in it and where. The line itself is not quoted: it may hold a secret.
pub(super) fn parse(text: &str) -> Result<Table, String> {
    text.parse::<Table>().map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column} is not TOML: {}", error.message())
    })
}

/// A secret's file, without the line's end that editors leave.
pub(super) fn read_secret(path: &str) -> Result<String, String> {
    match read(Path::new(path)) {
        Ok(text) if text.trim().is_empty() => Err("the file is empty".to_owned()),
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(format!("cannot read the file: {error}")),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

/// `HOST__STOP_GRACE` is `host.stop-grace`. What librdkafka calls `security.protocol` cannot stand in the
/// name of a variable: below `KAFKA__PROPERTIES__` an underscore is a dot.
fn key(name: &str) -> String {
    let key = name.to_lowercase().replace("__", ".");
    match key.strip_prefix(PROPERTIES) {
        Some(property) => format!("{PROPERTIES}{}", property.replace('_', ".")),
        None => key.replace('_', "-"),
    }
}

/// The machine's name, as the kernel says it.
pub(super) fn hostname() -> String {
    let name = read(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}
