//! Paths of the binary under test, the guests, the folders for servers and for worlds.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use mailroom_servers::KafkaRelease;

/// The repository's own root.
#[must_use]
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// The folder that cargo builds into, `target` by default.
///
/// # Errors
/// Where this program was moved out of it.
pub fn target() -> Result<PathBuf> {
    let exe = env::current_exe().context("where is this test's own file?")?;
    // target/debug/deps/suite-…, or target/debug/demo.
    exe.ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "debug" || name == "release"))
        .and_then(Path::parent)
        .map(Path::to_owned)
        .with_context(|| format!("{} is not in a cargo target folder", exe.display()))
}

/// The binary under test: `MAILROOM_BIN`, else the one that cargo built beside this test.
///
/// # Errors
/// Where it was not built; names the command that does.
pub fn binary() -> Result<PathBuf> {
    let binary = match env::var_os("MAILROOM_BIN") {
        Some(given) => PathBuf::from(given),
        None => target()?.join("debug/mailroom"),
    };
    ensure!(binary.is_file(), "{} is missing: run `cargo build --package mailroom`", binary.display());
    Ok(binary)
}

/// Kafka's jars: `MAILROOM_KAFKA_JARS`, else the user's cache.
#[must_use]
pub fn kafka_jars() -> PathBuf {
    env::var_os("MAILROOM_KAFKA_JARS").map_or_else(|| KafkaRelease::V4.jars(), PathBuf::from)
}

/// Prometheus or its promtool: what `cargo xtask install` has put beside cargo's builds, else the one on the search path.
///
/// # Errors
/// As [`target`].
pub fn prometheus(program: &str) -> Result<PathBuf> {
    let fetched = target()?.join("prometheus/usr/bin").join(program);
    Ok(if fetched.is_file() { fetched } else { PathBuf::from(program) })
}
