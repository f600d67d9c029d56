//! Keeps `host/.sqlx`, by which the SQL in the code is checked where no database is at hand: the
//! migrations go into a throw-away Postgres, and a build against it writes one file a query.

use crate::run::{Result, command, finish, root, servers};
use mailroom_servers::{Postgres, PostgresOptions, postgres_programs};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Use of the data that sqlx takes from the code's statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Replace `host/.sqlx`.
    Renew,
    /// Compare; an error names what differs.
    Check,
}

type Files = BTreeMap<OsString, Vec<u8>>;

pub(crate) fn run(mode: Mode) -> Result {
    let root = root()?;
    let fresh = root.join("target/sqlx-new");
    empty(&fresh)?;
    let dir = servers()?.join("sqlx");
    mailroom_servers::stop_leftover(&dir)?;
    empty(&dir)?;
    let settings = vec![("fsync".to_owned(), "off".to_owned())];
    let postgres = Postgres::start(&dir, PostgresOptions { settings, ..PostgresOptions::default() })?;
    migrate(&root, postgres.url())?;
    prepare(&fresh, postgres.url())?;
    drop(postgres);
    fs::remove_dir_all(&dir)?;

    let kept = root.join("host/.sqlx");
    match mode {
        Mode::Renew => {
            empty(&kept)?;
            let files = read(&fresh)?;
            for (name, text) in &files {
                fs::write(kept.join(name), text)?;
            }
            println!("host/.sqlx holds {} queries", files.len());
            Ok(())
        }
        Mode::Check => match differences(&read(&kept)?, &read(&fresh)?).as_slice() {
            [] => Ok(()),
            found => {
                Err(format!("host/.sqlx is not current:\n{}\nrun `cargo xtask sqlx`", found.join("\n"))
                    .into())
            }
        },
    }
}

/// Start of a migration that cannot be one transaction.
const NO_TRANSACTION: &str = "-- no-transaction";

/// Applies the migrations in order, each in one transaction unless it says otherwise.
fn migrate(root: &Path, url: &str) -> Result {
    finish(psql(url, &["--command", "create schema mailroom"])?)?;
    let mut files: Vec<_> =
        fs::read_dir(root.join("migrations"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    for file in files {
        let is_apart = fs::read_to_string(&file)?.starts_with(NO_TRANSACTION);
        let mut apply = psql(url, if is_apart { &[] } else { &["--single-transaction"] })?;
        apply.arg("--file").arg(file);
        finish(apply)?;
    }
    Ok(())
}

fn psql(url: &str, args: &[&str]) -> Result<Command> {
    let beside = postgres_programs()?.join("psql");
    let program = if beside.exists() { beside } else { "psql".into() };
    let mut psql = Command::new(program);
    psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", url]).args(args);
    Ok(psql)
}

/// Compiles the host against the database. The macros run only when the crate is compiled anew.
fn prepare(fresh: &Path, url: &str) -> Result {
    finish(command("touch", &["host/src/lib.rs"])?)?;
    let mut check =
        command("cargo", &["check", "--quiet", "--workspace", "--exclude", "xtask", "--all-targets"])?;
    check.env("SQLX_OFFLINE", "false").env("DATABASE_URL", url).env("SQLX_OFFLINE_DIR", fresh);
    finish(check)
}

fn empty(dir: &Path) -> Result {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    Ok(fs::create_dir_all(dir)?)
}

fn read(dir: &Path) -> Result<Files> {
    if !dir.exists() {
        return Ok(Files::new());
    }
    fs::read_dir(dir)?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name(), fs::read(entry.path())?))
        })
        .collect()
}

/// One line for each file that is missing, changed, or no longer of use.
fn differences(kept: &Files, fresh: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in fresh {
        match kept.get(name) {
            None => found.push(format!("  missing: {}", name.display())),
            Some(old) if old != text => found.push(format!("  changed: {}", name.display())),
            Some(_) => {}
        }
    }
    found.extend(
        kept.keys()
            .filter(|name| !fresh.contains_key(*name))
            .map(|name| format!("  stale: {}", name.display())),
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(name, text)| (name.into(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn missing_changed_and_stale_files_are_named() {
        let kept = files(&[("a", "1"), ("b", "1"), ("old", "1")]);
        let fresh = files(&[("a", "1"), ("b", "2"), ("new", "1")]);
        assert_eq!(differences(&kept, &fresh), ["  changed: b", "  missing: new", "  stale: old"]);
        assert!(differences(&fresh, &fresh).is_empty());
    }
}
