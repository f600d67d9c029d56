//! Files of Maven Central, fetched once by Maven itself, which knows mirrors and proxies and checks sums. A
//! folder is complete or not there: it is filled aside and renamed.

use crate::Error;
use crate::child::{self, on_path};
use crate::error::io;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that keeps fetched things for all checkouts: `mailroom` in the user's cache.
pub(crate) fn cache() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "where caches belong is known from this variable only")]
    let named = std::env::var("XDG_CACHE_HOME").ok().map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = named.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("mailroom")
}

/// Tells whether the folder was filled to its end.
pub(crate) fn is_complete(folder: &Path) -> bool {
    folder.join(".complete").exists()
}

/// Fills the folder with what this goal of the POM brings, and with what `finish` makes of it. Does nothing when it is
/// complete.
pub(crate) fn fetch(
    folder: &Path,
    (pom, goal): (&str, &str),
    properties: &[(&str, &str)],
    finish: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    if is_complete(folder) {
        return Ok(());
    }
    let mvn = on_path("mvn").ok_or_else(|| Error::Missing {
        what: "Maven (the program `mvn`)".to_owned(),
        remedy: "install it, on Debian with `apt-get install maven`".to_owned(),
    })?;
    let aside = folder.with_added_extension(format!("fetching-{}", std::process::id()));
    let fetched = run(&mvn, &aside, (pom, goal), properties)
        .and_then(|()| finish(&aside))
        .and_then(|()| put_in_place(&aside, folder));
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(io("remove", &aside))?;
    }
    fetched
}

fn run(
    mvn: &Path,
    aside: &Path,
    (pom, goal): (&str, &str),
    properties: &[(&str, &str)],
) -> Result<(), Error> {
    fs::create_dir_all(aside).map_err(io("create", aside))?;
    let pom_file = aside.join("pom.xml");
    fs::write(&pom_file, pom).map_err(io("write", &pom_file))?;
    let mut command = Command::new(mvn);
    command.current_dir(aside).args(["--quiet", "--batch-mode", "--strict-checksums", "--file"]);
    command.arg(&pom_file).arg(goal).arg(format!("-DoutputDirectory={}", aside.display()));
    command.args(properties.iter().map(|(name, value)| format!("-D{name}={value}")));
    child::run("mvn", command, &aside.join("mvn.log"))
}

fn put_in_place(aside: &Path, folder: &Path) -> Result<(), Error> {
    let marker = aside.join(".complete");
    fs::write(&marker, "").map_err(io("write", &marker))?;
    if folder.exists() && !is_complete(folder) {
        fs::remove_dir_all(folder).map_err(io("remove", folder))?;
    }
    match fs::rename(aside, folder) {
        // Another process was quicker.
        Err(_) if is_complete(folder) => Ok(()),
        renamed => renamed.map_err(io("rename", aside)),
    }
}
