//! Kafka's jars, fetched once from Maven Central by Maven itself, which checks their sums. A folder is
//! complete or not there: it is filled aside and renamed.

use crate::Error;
use crate::child::{self, on_path};
use crate::error::io;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const POM: &str = include_str!("../kafka-pom.xml");

/// Where the jars are kept for all checkouts: `mailroom/kafka-4.3.1` in the user's cache.
pub fn kafka_jars_default() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "where caches belong is known from this variable only")]
    let named = std::env::var("XDG_CACHE_HOME").ok().map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = named.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("mailroom").join("kafka-4.3.1")
}

/// Whether the folder has all jars.
pub fn kafka_jars_are_there(jars: &Path) -> bool {
    jars.join(".complete").exists()
}

/// Fills the folder with Kafka 4.3.1 from Maven Central (45 MB). Does nothing when it is complete.
pub fn fetch_kafka_jars(jars: &Path) -> Result<(), Error> {
    if kafka_jars_are_there(jars) {
        return Ok(());
    }
    let mvn = on_path("mvn").ok_or_else(|| Error::Missing {
        what: "Maven (the program `mvn`)".to_owned(),
        remedy: "install it, on Debian with `apt-get install maven`".to_owned(),
    })?;
    let aside = jars.with_added_extension(format!("fetching-{}", std::process::id()));
    let fetched = fetch(&mvn, &aside).and_then(|()| put_in_place(&aside, jars));
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(io("remove", &aside))?;
    }
    fetched
}

fn fetch(mvn: &Path, aside: &Path) -> Result<(), Error> {
    fs::create_dir_all(aside).map_err(io("create", aside))?;
    let pom = aside.join("pom.xml");
    fs::write(&pom, POM).map_err(io("write", &pom))?;
    let mut command = Command::new(mvn);
    command.current_dir(aside).args(["--quiet", "--batch-mode", "--strict-checksums", "--file"]).arg(&pom);
    command.arg("dependency:copy-dependencies").arg(format!("-DoutputDirectory={}", aside.display()));
    child::run("mvn", command, &aside.join("mvn.log"))?;
    let marker = aside.join(".complete");
    fs::write(&marker, "").map_err(io("write", &marker))
}

fn put_in_place(aside: &Path, jars: &Path) -> Result<(), Error> {
    if jars.exists() && !kafka_jars_are_there(jars) {
        fs::remove_dir_all(jars).map_err(io("remove", jars))?;
    }
    match fs::rename(aside, jars) {
        // Another process was quicker.
        Err(_) if kafka_jars_are_there(jars) => Ok(()),
        renamed => renamed.map_err(io("rename", aside)),
    }
}
