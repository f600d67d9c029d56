//! Search for an installed Postgres: on the search path, or where distributions hide it.

use crate::Error;
use crate::child::on_path;
use std::fs;
use std::path::{Path, PathBuf};

/// The directory that holds `postgres` and `initdb` (and mostly `psql`).
pub fn postgres_programs() -> Result<PathBuf, Error> {
    let on_path = on_path("postgres").and_then(|program| program.canonicalize().ok());
    let on_path = on_path.and_then(|program| program.parent().map(Path::to_owned));
    on_path.into_iter().chain(installed()).find(|dir| is_complete(dir)).ok_or_else(|| Error::Missing {
        what: "Postgres (the programs `postgres` and `initdb`)".to_owned(),
        remedy: "install the server, on Debian with `apt-get install postgresql`".to_owned(),
    })
}

pub(super) fn is_complete(dir: &Path) -> bool {
    ["postgres", "initdb"].iter().all(|program| dir.join(program).is_file())
}

/// The usual places of packages, newest version first.
fn installed() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
    ]
    .iter()
    .flat_map(|(parent, prefix)| below(Path::new(parent), prefix))
    .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, dir)| dir.join("bin")).collect()
}

fn below(parent: &Path, prefix: &str) -> Vec<(u32, PathBuf)> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| Some((version(entry.file_name().to_str()?, prefix)?, entry.path())))
        .collect()
}

fn version(name: &str, prefix: &str) -> Option<u32> {
    name.strip_prefix(prefix)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_known_by_its_version() {
        assert_eq!(version("15", ""), Some(15));
        assert_eq!(version("pgsql-16", "pgsql-"), Some(16));
        assert_eq!(version("postgresql@17", "postgresql@"), Some(17));
        assert_eq!(version("share", ""), None);
    }
}
