//! Where things are: the binary under test, the guests, the folders for servers and for worlds.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// The repository's own root.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// The folder that cargo builds into, `target` by default.
pub(crate) fn target() -> Result<PathBuf> {
    let exe = env::current_exe().context("where is this test's own file?")?;
    // target/debug/deps/suite-…, or target/debug/demo.
    exe.ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "debug" || name == "release"))
        .and_then(Path::parent)
        .map(Path::to_owned)
        .with_context(|| format!("{} is not in a cargo target folder", exe.display()))
}

/// The binary under test: `MAILROOM_BIN`, else the one that cargo built beside this test.
pub(crate) fn binary() -> Result<PathBuf> {
    let binary = match env::var_os("MAILROOM_BIN") {
        Some(given) => PathBuf::from(given),
        None => target()?.join("debug/mailroom"),
    };
    ensure!(binary.is_file(), "{} is missing: run `cargo build --package mailroom`", binary.display());
    Ok(binary)
}

/// Kafka's jars: `MAILROOM_KAFKA_JARS`, else the user's cache.
pub(crate) fn kafka_jars() -> PathBuf {
    env::var_os("MAILROOM_KAFKA_JARS").map_or_else(mailroom_servers::kafka_jars_default, PathBuf::from)
}
